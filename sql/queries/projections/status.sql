-- Every version with the log's end, the seconds since the first event that it has not processed was recorded, and the
-- process that updates it now, if any.
SELECT v.projection, v.version, v.fold_version, v.state, v.status, v.position, v.error_position, v.error_type, v.error,
       CASE WHEN EXISTS (
           SELECT FROM pg_locks l
           WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
             AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
             AND (l.classid::bigint << 32 | l.objid::bigint) = projection_lock(v.projection, v.version)
       ) THEN v.holder END AS holder,
       head.position AS head,
       greatest(extract(epoch FROM clock_timestamp() - next.recorded_at), 0)::double precision AS behind_seconds
FROM projection_versions v
CROSS JOIN (SELECT coalesce(max(position), 0) AS position FROM events) head
LEFT JOIN events next ON next.position = v.position + 1
ORDER BY v.projection, v.version
