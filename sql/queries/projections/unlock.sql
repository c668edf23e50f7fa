-- Releases the lock of a version.
SELECT pg_advisory_unlock(projection_lock(%(projection)s, %(version)s))
