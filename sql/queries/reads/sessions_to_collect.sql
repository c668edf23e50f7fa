-- Sessions whose content in the object store may no longer be named by any kept sync. A sync is kept for the retention time
-- after a later one replaced it. A session is listed for two more days: one for the grace time of young content (GRACE in
-- infrastructure/stored_workspaces/collection.py), one until the next collection. Read once an hour, so it has no index.
SELECT w.key
FROM projection_versions v
JOIN read_models.session_workers w ON w.version = v.version AND w.tenant = %(tenant)s
CROSS JOIN LATERAL (
    SELECT (w.body #>> '{worker,last_sync_at}')::timestamptz AS synced_at,
           (w.body #>> '{worker,collected_at}')::timestamptz AS collected_at,
           (w.body #>> '{worker,created_at}')::timestamptz AS created_at
) AS t
WHERE v.projection = 'session_workers' AND v.state = 'active'
  AND t.synced_at IS NOT NULL
  AND coalesce(t.collected_at, t.created_at + %(retention)s) < %(now)s - %(again_after)s
  AND (t.collected_at IS NULL OR t.collected_at < t.synced_at + %(retention)s + interval '2 days')
ORDER BY coalesce(t.collected_at, t.created_at)
LIMIT %(limit)s
