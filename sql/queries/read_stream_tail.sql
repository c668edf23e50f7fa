-- The events of one stream after a seq, in order: at most max_rows events and about max_bytes.
SELECT position, stream, seq, type, event_id, recorded_at, occurred_at, schema_version, convert_to(metadata, 'UTF8'), payload
FROM (
    SELECT *, sum(octet_length(payload)) OVER (ORDER BY seq ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS earlier
    FROM (
        SELECT * FROM events
        WHERE tenant = %(tenant)s AND stream = %(stream)s AND seq > %(after)s
        ORDER BY seq
        LIMIT %(max_rows)s
    ) next
) bounded
WHERE coalesce(earlier < %(max_bytes)s, true)
ORDER BY seq
