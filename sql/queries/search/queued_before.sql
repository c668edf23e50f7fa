-- The last event of the given types in a stream before a position: what put a run into the queue before a lease.
SELECT position, stream, seq, type, event_id, occurred_at, metadata
FROM events
WHERE tenant = %(tenant)s AND stream = %(stream)s AND position < %(before)s AND type = ANY (%(types)s::text[])
ORDER BY seq DESC
LIMIT 1
