-- What the index lacks: events up to the log's end, and for how many seconds the first of them has been there.
SELECT greatest(head.position - c.position, 0) AS events,
       greatest(coalesce(extract(epoch FROM clock_timestamp() - next.recorded_at), 0), 0)::double precision AS seconds
FROM event_index_checkpoint c
CROSS JOIN (SELECT coalesce(max(position), 0) AS position FROM events) head
LEFT JOIN events next ON next.position = c.position + 1
