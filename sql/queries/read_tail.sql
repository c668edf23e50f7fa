-- The log after a position, in order: up to max_rows events and about max_bytes.
-- `tenant || ''` leaves one index, that of the position: a plan without statistics would take all events of the tenant.
SELECT position, stream, seq, type, event_id, recorded_at, occurred_at, schema_version, convert_to(metadata, 'UTF8'), payload
FROM (
    SELECT *, sum(octet_length(payload)) OVER (ORDER BY position ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS earlier
    FROM (
        SELECT * FROM events
        WHERE position > %(after)s AND tenant || '' = %(tenant)s
        ORDER BY position
        LIMIT %(max_rows)s
    ) next
) bounded
WHERE coalesce(earlier < %(max_bytes)s, true)
ORDER BY position
