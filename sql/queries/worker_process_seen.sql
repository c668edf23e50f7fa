-- Says that a process works and what it finds down. Deletes the rows of those that have not been seen for a day.
WITH dropped AS (
    DELETE FROM worker_processes WHERE seen_at < clock_timestamp() - interval '1 day' AND owner <> %(owner)s
)
INSERT INTO worker_processes (owner, seen_at, down) VALUES (%(owner)s, clock_timestamp(), %(down)s)
ON CONFLICT (owner) DO UPDATE SET seen_at = excluded.seen_at, down = excluded.down
