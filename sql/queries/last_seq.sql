-- The seq of a stream's last event, 0 when it has none.
SELECT coalesce((SELECT last_seq FROM streams WHERE tenant = %(tenant)s AND stream = %(stream)s), 0)
