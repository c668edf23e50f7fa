-- The first events that each of several causes led to directly, in order of position, and the number of all.
SELECT cause.id, total.count, e.position, e.stream, e.seq, e.type, e.event_id, e.occurred_at, e.metadata
FROM unnest(%(causes)s::text[]) AS cause (id)
CROSS JOIN LATERAL (
    SELECT count(*) FROM event_index i WHERE i.causation_id = cause.id AND i.tenant = %(tenant)s
) total
CROSS JOIN LATERAL (
    SELECT position FROM event_index i
    WHERE i.causation_id = cause.id AND i.tenant = %(tenant)s
    ORDER BY i.position
    LIMIT %(limit)s
) first
JOIN events e USING (position)
ORDER BY e.position
