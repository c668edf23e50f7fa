-- The last position of the log, 0 if it is empty.
SELECT coalesce(max(position), 0) FROM events
