-- The events that a run's message texts consist of, after a seq and up to another one, newest first.
SELECT seq, schema_version, type, payload
FROM events
WHERE tenant = %(tenant)s AND stream = %(stream)s AND seq > %(after)s AND seq <= %(up_to)s
  AND type IN ('message.delta', 'message.stop')
ORDER BY seq DESC
LIMIT %(limit)s
