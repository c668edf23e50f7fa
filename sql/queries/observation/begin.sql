-- Where the observer of the log goes on: at its checkpoint, at the log's end the first time, and never beyond that end.
INSERT INTO observed_log (position) SELECT coalesce(max(position), 0) FROM events
ON CONFLICT (only_row) DO UPDATE SET position = least(observed_log.position, excluded.position)
RETURNING position
