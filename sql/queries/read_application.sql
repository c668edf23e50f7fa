-- read_all for a tenant other than the product's, by their own index.
SELECT position, stream, seq, type, event_id, recorded_at, occurred_at, schema_version,
       convert_to(metadata, 'UTF8') AS metadata, payload
FROM events
WHERE tenant = %(tenant)s AND tenant <> 'default' AND position > %(after)s AND position <= %(up_to)s
ORDER BY position
LIMIT %(limit)s
