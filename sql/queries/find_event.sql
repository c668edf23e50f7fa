-- The event with an event id in a stream.
SELECT position, stream, seq, type, event_id, recorded_at, occurred_at, schema_version, convert_to(metadata, 'UTF8'), payload
FROM events
WHERE event_id = %(event_id)s AND stream = %(stream)s AND tenant = %(tenant)s
