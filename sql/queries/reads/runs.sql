-- A page of runs, newest first, each with the last event of its stream as of the read model's checkpoint.
SELECT v.position, r.created_position, r.body::text, e.seq, e.position, e.occurred_at
FROM projection_versions v
LEFT JOIN LATERAL (
    SELECT * FROM read_models.runs
    WHERE version = v.version AND tenant = %(tenant)s AND created_position < %(before)s
      AND (%(state)s::text IS NULL OR state = %(state)s)
      AND (%(session_id)s::text IS NULL OR session_id = %(session_id)s)
      AND (%(provider)s::text IS NULL OR provider = %(provider)s)
      AND (%(app_id)s::text IS NULL OR app_id = %(app_id)s)
      AND (%(user_login_name)s::text IS NULL OR user_login_name = %(user_login_name)s)
    ORDER BY created_position DESC
    LIMIT %(limit)s
) r ON true
LEFT JOIN LATERAL (
    SELECT seq, position, occurred_at FROM events
    WHERE tenant = r.tenant AND stream = 'run:' || r.key AND position <= v.position
    ORDER BY seq DESC
    LIMIT 1
) e ON true
WHERE v.projection = 'runs' AND v.state = 'active'
ORDER BY r.created_position DESC
