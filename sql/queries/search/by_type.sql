-- Positions of the events of some types, in order: the next ones of each type by its index, merged.
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
