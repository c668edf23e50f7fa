-- Prolongs the lease of a key that has no response yet, unless the lease was lost.
UPDATE idempotency_keys
SET leased_until = clock_timestamp() + %(lease_s)s * interval '1 second'
WHERE tenant = %(tenant)s AND actor = %(actor)s AND key = %(key)s AND lease = %(lease)s AND status IS NULL
