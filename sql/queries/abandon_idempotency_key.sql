-- Releases a claimed key that has no response yet.
DELETE FROM idempotency_keys
WHERE tenant = %(tenant)s AND actor = %(actor)s AND key = %(key)s AND lease = %(lease)s AND status IS NULL
