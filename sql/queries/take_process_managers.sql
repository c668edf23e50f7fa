-- Takes the locks of these process managers for as long as this connection lives, where no other process has them; returns
-- the names of those that it got.
SELECT name FROM unnest(%(names)s::text[]) AS wanted (name)
WHERE pg_try_advisory_lock(hashtextextended('process_manager ' || name, 0))
