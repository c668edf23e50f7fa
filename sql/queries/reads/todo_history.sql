-- The changes of a run's todo list after a seq and up to a position, in order, with about %(max_bytes)s bytes of payload at
-- most; with their total number up to that position, and that position or the log's end, if it is lower.
SELECT (SELECT least(coalesce(max(position), 0), %(up_to)s) FROM events),
       (SELECT count(*) FROM events
        WHERE tenant = %(tenant)s AND stream = %(stream)s AND position <= %(up_to)s
          AND type IN ('todo.update', 'todo.snapshot')),
       e.*
FROM streams s
LEFT JOIN LATERAL (
    SELECT position, stream, seq, type, schema_version, event_id, occurred_at, recorded_at, metadata, payload, tenant
    FROM (
        SELECT *, sum(octet_length(payload)) OVER (ORDER BY seq) AS bytes
        FROM (
            SELECT * FROM events
            WHERE tenant = s.tenant AND stream = s.stream AND seq > %(after)s AND position <= %(up_to)s
              AND type IN ('todo.update', 'todo.snapshot')
            ORDER BY seq
            LIMIT %(limit)s
        ) next
    ) page
    WHERE bytes - octet_length(payload) < %(max_bytes)s
) e ON true
WHERE s.tenant = %(tenant)s AND s.stream = %(stream)s
ORDER BY e.seq
