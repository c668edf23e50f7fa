-- The last seq of a stream, 0 if it has no events.
SELECT coalesce((SELECT last_seq FROM streams WHERE tenant = %(tenant)s AND stream = %(stream)s), 0)
