-- The eventsourcing library's snapshots of one aggregate, in order of version.
SELECT stream, seq, topic, state
FROM snapshots
WHERE tenant = %(tenant)s AND stream = %(stream)s AND seq > %(after)s AND seq <= %(up_to)s
ORDER BY seq ASC
LIMIT %(limit)s
