-- Open questions that expired at or before a time, the longest overdue first.
SELECT q.body::text
FROM projection_versions v
JOIN read_models.human_loop q ON q.version = v.version AND q.tenant = %(tenant)s AND q.expires_at <= %(now)s
WHERE v.projection = 'human_loop' AND v.state = 'active'
ORDER BY q.expires_at
LIMIT %(limit)s
