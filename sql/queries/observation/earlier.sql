-- The last events of some types of a stream before one of its events, the newest first.
SELECT position, stream, seq, type, event_id, recorded_at, occurred_at, schema_version,
       convert_to(metadata, 'UTF8') AS metadata, payload
FROM events
WHERE tenant = %(tenant)s AND stream = %(stream)s AND seq < %(before)s AND type = ANY(%(types)s::text[])
ORDER BY seq DESC
LIMIT %(limit)s
