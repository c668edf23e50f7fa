-- A page of chats, the latest first.
SELECT v.position, r.position, r.body::text
FROM projection_versions v
LEFT JOIN LATERAL (
    SELECT * FROM read_models.chats
    WHERE version = v.version AND tenant = %(tenant)s AND position < %(before)s
      AND (%(user_login_name)s::text IS NULL OR user_login_name = %(user_login_name)s)
      AND (%(project_name)s::text IS NULL OR project_name = %(project_name)s)
    ORDER BY position DESC
    LIMIT %(limit)s
) r ON true
WHERE v.projection = 'chats' AND v.state = 'active'
ORDER BY r.position DESC
