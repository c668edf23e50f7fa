-- The events of some types of a stream, after a seq and up to another one, in order.
SELECT position, stream, seq, type, schema_version, event_id, occurred_at, recorded_at, metadata, payload, tenant
FROM events
WHERE tenant = %(tenant)s AND stream = %(stream)s AND seq > %(after)s AND seq <= %(up_to)s AND type = ANY (%(types)s)
ORDER BY seq
