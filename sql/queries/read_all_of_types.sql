-- The events of some types after a position, in order: the next ones of each type by its index, merged.
SELECT e.position, e.stream, e.seq, e.type, e.event_id, e.recorded_at, e.occurred_at, e.schema_version,
       convert_to(e.metadata, 'UTF8') AS metadata, e.payload
FROM (
    SELECT of_type.position
    FROM unnest(%(types)s::text[]) AS wanted (type)
    CROSS JOIN LATERAL (
        SELECT position FROM events
        WHERE type = wanted.type AND position > %(after)s AND position <= %(up_to)s AND tenant = %(tenant)s
        ORDER BY position
        LIMIT %(limit)s
    ) of_type
    ORDER BY of_type.position
    LIMIT %(limit)s
) next
JOIN events e USING (position)
ORDER BY e.position
