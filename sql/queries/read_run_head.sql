-- What is needed to open a run's stream: its last seq, whether its last event has the type `finished`, and its first event.
SELECT s.last_seq, last.type = %(finished)s, first.type, first.schema_version, first.payload
FROM streams s
JOIN events first ON first.tenant = s.tenant AND first.stream = s.stream AND first.seq = 1
JOIN events last ON last.position = s.last_position
WHERE s.tenant = %(tenant)s AND s.stream = %(stream)s
