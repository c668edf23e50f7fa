-- Takes the lock of one, that of try_lock, up to the end of the transaction; false where a process has it.
SELECT pg_try_advisory_xact_lock(hashtextextended('user_projection ' || %(tenant)s || ' ' || lower(%(name)s), 0))
