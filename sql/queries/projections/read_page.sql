-- Events of some types in a part of the log, in order, with about %(max_bytes)s bytes of payload at most. `type || ''`
-- excludes the index of types, so that the primary key is used.
SELECT position, stream, seq, type, schema_version, event_id, occurred_at, recorded_at, metadata, payload, tenant
FROM (
    SELECT *, sum(octet_length(payload)) OVER (ORDER BY position) AS bytes
    FROM events
    WHERE position > %(after)s AND position <= %(up_to)s AND type || '' = ANY (%(types)s)
) page
WHERE bytes - octet_length(payload) < %(max_bytes)s
ORDER BY position
