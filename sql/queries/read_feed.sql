-- The events between two positions that a filter selects, in order: at most max_rows, and about max_bytes. The filter's
-- conditions replace the marker (infrastructure/streams/feed_query.py).
SELECT position, stream, seq, type, event_id, recorded_at, occurred_at, schema_version, convert_to(metadata, 'UTF8'), payload
FROM (
    SELECT *, sum(octet_length(payload)) OVER (ORDER BY position ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS earlier
    FROM (
        SELECT * FROM events
        WHERE position > %(after)s AND position <= %(up_to)s AND tenant = %(tenant)s AND /* wanted */
        ORDER BY position
        LIMIT %(max_rows)s
    ) next
) bounded
WHERE coalesce(earlier < %(max_bytes)s, true)
ORDER BY position
