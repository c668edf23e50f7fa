-- The seq of a stream's last event; no row for a stream without events.
SELECT last_seq FROM streams WHERE tenant = %(tenant)s AND stream = %(stream)s
