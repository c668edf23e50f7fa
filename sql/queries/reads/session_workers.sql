-- A page of session workers, newest first.
SELECT v.position, r.created_position, r.body::text
FROM projection_versions v
LEFT JOIN LATERAL (
    SELECT * FROM read_models.session_workers
    WHERE version = v.version AND tenant = %(tenant)s AND created_position < %(before)s
      AND (%(state)s::text IS NULL OR state = %(state)s)
      AND (%(app_id)s::text IS NULL OR app_id = %(app_id)s)
      AND (%(project_name)s::text IS NULL OR project_name = %(project_name)s)
      AND (%(user_login_name)s::text IS NULL OR user_login_name = %(user_login_name)s)
      AND (%(last_sync_status)s::text IS NULL OR last_sync_status = %(last_sync_status)s)
    ORDER BY created_position DESC
    LIMIT %(limit)s
) r ON true
WHERE v.projection = 'session_workers' AND v.state = 'active'
ORDER BY r.created_position DESC
