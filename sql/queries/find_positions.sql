-- Which of these event ids a stream has: id and position.
SELECT event_id, found.position
FROM unnest(%(event_ids)s::text[]) AS wanted (event_id)
CROSS JOIN LATERAL (
    SELECT position FROM events
    WHERE events.event_id = wanted.event_id AND events.stream = %(stream)s AND events.tenant = %(tenant)s
    OFFSET 0
) AS found
