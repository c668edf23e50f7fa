-- The last event of a stream at a moment of the past, and of the stream at all.
SELECT e.seq, e.position, e.occurred_at, s.last_seq
FROM streams s
LEFT JOIN LATERAL (
    SELECT seq, position, occurred_at FROM events
    WHERE tenant = s.tenant AND stream = s.stream
      AND seq <= %(seq)s AND position <= %(position)s
    ORDER BY seq DESC
    LIMIT 1
) e ON true
WHERE s.tenant = %(tenant)s AND s.stream = %(stream)s
