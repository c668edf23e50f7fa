-- Every process manager with its lag: in events, and in seconds since the first event that it has not processed was
-- recorded.
SELECT c.name, c.status, c.position, greatest(head.position - c.position, 0) AS lag_events,
       coalesce(greatest(extract(epoch FROM clock_timestamp() - next.recorded_at), 0), 0)::float8 AS lag_seconds,
       c.error_position, c.error_type, c.error
FROM process_manager_checkpoint c
CROSS JOIN (SELECT coalesce(max(position), 0) AS position FROM events) head
LEFT JOIN events next ON next.position = c.position + 1
ORDER BY c.name
