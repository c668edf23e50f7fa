-- Session workers that have been stopped since before a time, the longest stopped first.
SELECT w.key
FROM projection_versions v
JOIN read_models.session_workers w ON w.version = v.version AND w.tenant = %(tenant)s AND w.stopped_since < %(before)s
WHERE v.projection = 'session_workers' AND v.state = 'active'
ORDER BY w.stopped_since
LIMIT %(limit)s
