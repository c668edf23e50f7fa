-- The lag of the event index: in events, and in seconds since the first event that it does not hold was recorded.
SELECT greatest(head.position - c.position, 0) AS events,
       greatest(coalesce(extract(epoch FROM clock_timestamp() - next.recorded_at), 0), 0)::double precision AS seconds
FROM event_index_checkpoint c
CROSS JOIN (SELECT coalesce(max(position), 0) AS position FROM events) head
LEFT JOIN events next ON next.position = c.position + 1
