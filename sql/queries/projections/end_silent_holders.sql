-- Ends connections that hold the locks of these versions and have been idle for too long: their processes are frozen.
-- idle_session_timeout does not suffice: Postgres does not apply it after a pipeline whose last message is a flush.
SELECT pg_terminate_backend(a.pid)
FROM unnest(%(projections)s::text[], %(versions)s::integer[]) AS wanted (projection, version)
JOIN pg_locks l ON (l.classid::bigint << 32 | l.objid::bigint) = projection_lock(wanted.projection, wanted.version)
JOIN pg_stat_activity a ON a.pid = l.pid
WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND a.state IN ('idle', 'idle in transaction') AND a.state_change < clock_timestamp() - %(silence)s
