-- Takes the lock of one for as long as this connection lives; false where another process has it.
SELECT pg_try_advisory_lock(hashtextextended('user_projection ' || %(tenant)s || ' ' || lower(%(name)s), 0))
