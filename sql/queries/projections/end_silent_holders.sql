-- End the connections that hold versions and give no sign: their processes are frozen. idle_session_timeout alone does not
-- do: Postgres forgets it where a pipeline's last message is a flush.
SELECT pg_terminate_backend(a.pid)
FROM unnest(%(projections)s::text[], %(versions)s::integer[]) AS wanted (projection, version)
JOIN pg_locks l ON (l.classid::bigint << 32 | l.objid::bigint) = projection_lock(wanted.projection, wanted.version)
JOIN pg_stat_activity a ON a.pid = l.pid
WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND a.state IN ('idle', 'idle in transaction') AND a.state_change < clock_timestamp() - %(silence)s
