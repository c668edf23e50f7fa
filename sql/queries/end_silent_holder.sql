-- Ends connections that hold one of these advisory locks and have been idle for too long: their process is frozen.
-- idle_session_timeout does not suffice: Postgres does not apply it after a pipeline whose last message is a flush.
SELECT pg_terminate_backend(a.pid)
FROM pg_locks l JOIN pg_stat_activity a USING (pid)
WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND (l.classid::bigint << 32 | l.objid::bigint) = ANY(%(locks)s::bigint[])
  AND a.state IN ('idle', 'idle in transaction') AND a.state_change < clock_timestamp() - %(silence)s
