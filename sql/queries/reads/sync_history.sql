-- A page of a session's syncs, newest first.
SELECT v.position, r.position, r.body::text
FROM projection_versions v
LEFT JOIN LATERAL (
    SELECT * FROM read_models.sync_history
    WHERE version = v.version AND tenant = %(tenant)s AND session_id = %(session_id)s AND position < %(before)s
    ORDER BY position DESC
    LIMIT %(limit)s
) r ON true
WHERE v.projection = 'sync_history' AND v.state = 'active'
ORDER BY r.position DESC
