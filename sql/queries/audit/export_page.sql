-- A part of the log with all columns that the hashes are made of; times in microseconds since 2000-01-01T00:00:00Z.
SELECT position, tenant, stream, seq, type, schema_version, event_id,
       (extract(epoch FROM occurred_at - '2000-01-01T00:00:00Z'::timestamptz) * 1000000)::bigint,
       (extract(epoch FROM recorded_at - '2000-01-01T00:00:00Z'::timestamptz) * 1000000)::bigint,
       metadata, payload, payload_hash, chain_hash
FROM (
    SELECT *, sum(octet_length(payload)) OVER (ORDER BY position) AS bytes
    FROM (
        SELECT * FROM events WHERE position > %(after)s AND position <= %(up_to)s ORDER BY position LIMIT %(limit)s
    ) next
) page
WHERE bytes - octet_length(payload) < %(max_bytes)s
ORDER BY position
