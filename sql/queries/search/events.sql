-- The events at some positions, in order, with about %(max_bytes)s bytes of payload at most.
SELECT position, stream, seq, type, event_id, recorded_at, occurred_at, schema_version, convert_to(metadata, 'UTF8'), payload
FROM (
    SELECT *, sum(octet_length(payload)) OVER (ORDER BY position) AS bytes
    FROM events WHERE position = ANY (%(positions)s::bigint[])
) found
WHERE bytes - octet_length(payload) < %(max_bytes)s
ORDER BY position
