-- The event that put a run into the queue, for a lease whose first event is at a position.
SELECT position, stream, seq, type, event_id, occurred_at, metadata
FROM events
WHERE tenant = %(tenant)s AND stream = %(stream)s AND position < %(before)s AND type = ANY (%(types)s::text[])
ORDER BY seq DESC
LIMIT 1
