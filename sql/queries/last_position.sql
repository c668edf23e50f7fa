-- The end of the log, 0 when it is empty.
SELECT coalesce(max(position), 0) FROM events
