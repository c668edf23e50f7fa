-- The events of one stream after a seq and up to another one, in order.
SELECT position, stream, seq, type, event_id, recorded_at, occurred_at, schema_version, convert_to(metadata, 'UTF8') AS metadata,
       payload
FROM events
WHERE tenant = %(tenant)s AND stream = %(stream)s AND seq > %(after)s AND seq <= %(up_to)s
ORDER BY seq
LIMIT %(limit)s
