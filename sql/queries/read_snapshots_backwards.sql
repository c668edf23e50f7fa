-- read_snapshots in reverse order.
SELECT stream, seq, topic, state
FROM snapshots
WHERE tenant = %(tenant)s AND stream = %(stream)s AND seq > %(after)s AND seq <= %(up_to)s
ORDER BY seq DESC
LIMIT %(limit)s
