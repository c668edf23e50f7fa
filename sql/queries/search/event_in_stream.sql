-- The event with a seq in a stream.
SELECT position, stream, seq, type, event_id, occurred_at, metadata
FROM events WHERE stream = %(stream)s AND seq = %(seq)s AND tenant = %(tenant)s
