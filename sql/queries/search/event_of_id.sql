-- The last event with this id before a position, because a cause comes before what it caused.
SELECT position, stream, seq, type, event_id, occurred_at, metadata
FROM events WHERE event_id = %(event_id)s AND position < %(before)s AND tenant = %(tenant)s
ORDER BY position DESC
LIMIT 1
