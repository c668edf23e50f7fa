-- The events that a run's message texts consist of, after a seq and up to another one, newest first: %(limit)s, and about
-- %(max_bytes)s bytes of payload at most.
SELECT seq, schema_version, type, payload
FROM (
    SELECT *, sum(octet_length(payload)) OVER (ORDER BY seq DESC) AS bytes
    FROM (
        SELECT seq, schema_version, type, payload FROM events
        WHERE tenant = %(tenant)s AND stream = %(stream)s AND seq > %(after)s AND seq <= %(up_to)s
          AND type IN ('message.delta', 'message.stop')
        ORDER BY seq DESC
        LIMIT %(limit)s
    ) next
) page
WHERE bytes - octet_length(payload) < %(max_bytes)s
ORDER BY seq DESC
