-- Running session workers whose last sync (or creation, without one) was before a time, the longest unsynced first.
SELECT w.key
FROM projection_versions v
JOIN read_models.session_workers w ON w.version = v.version AND w.tenant = %(tenant)s AND w.unsynced_since < %(before)s
WHERE v.projection = 'session_workers' AND v.state = 'active'
ORDER BY w.unsynced_since
LIMIT %(limit)s
