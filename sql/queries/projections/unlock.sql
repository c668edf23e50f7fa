-- Leave a version to others.
SELECT pg_advisory_unlock(projection_lock(%(projection)s, %(version)s))
