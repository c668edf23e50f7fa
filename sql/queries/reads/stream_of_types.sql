-- The events of some types of a stream, after a seq and up to another one, in order: %(limit)s, and about %(max_bytes)s bytes
-- of payload at most.
SELECT position, stream, seq, type, schema_version, event_id, occurred_at, recorded_at, metadata, payload, tenant
FROM (
    SELECT *, sum(octet_length(payload)) OVER (ORDER BY seq) AS bytes
    FROM (
        SELECT * FROM events
        WHERE tenant = %(tenant)s AND stream = %(stream)s AND seq > %(after)s AND seq <= %(up_to)s AND type = ANY (%(types)s)
        ORDER BY seq
        LIMIT %(limit)s
    ) next
) page
WHERE bytes - octet_length(payload) < %(max_bytes)s
ORDER BY seq
