-- Another query of the log, `rows`, up to the event with which the payloads have reached a number of bytes.
SELECT position, stream, seq, type, event_id, recorded_at, occurred_at, schema_version, metadata, payload
FROM (
    SELECT next.*, sum(octet_length(payload)) OVER (ORDER BY position ROWS UNBOUNDED PRECEDING) AS bytes
    FROM (
        {rows}
    ) next
) page
WHERE bytes - octet_length(payload) < %(max_bytes)s
ORDER BY position
