-- One event, without its payload.
SELECT position, stream, seq, type, event_id, occurred_at, metadata
FROM events WHERE position = %(position)s AND tenant = %(tenant)s
