-- The last event of a stream as of a position and seq, and the last seq of the whole stream.
SELECT e.seq, e.position, e.occurred_at, s.last_seq
FROM streams s
CROSS JOIN LATERAL (
    SELECT CASE WHEN %(position)s < s.last_position THEN seq_at(s.tenant, s.stream, %(position)s) ELSE s.last_seq END AS seq
) bound
LEFT JOIN LATERAL (
    SELECT seq, position, occurred_at FROM events
    WHERE tenant = s.tenant AND stream = s.stream AND seq <= least(%(seq)s, bound.seq)
    ORDER BY seq DESC
    LIMIT 1
) e ON true
WHERE s.tenant = %(tenant)s AND s.stream = %(stream)s
