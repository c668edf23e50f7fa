-- Releases the lock of a process manager.
SELECT pg_advisory_unlock(hashtextextended('process_manager ' || %(name)s::text, 0))
