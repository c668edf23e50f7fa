-- The last position that was recorded at or before a time, and the last position of the log.
SELECT position_at(%(time)s), (SELECT coalesce(max(position), 0) FROM events)
