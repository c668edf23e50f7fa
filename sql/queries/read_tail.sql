-- The log after a position, in order: at most max_rows events and about max_bytes. `tenant || ''` excludes indexes by
-- tenant, because a plan without statistics would read all events of the tenant.
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
