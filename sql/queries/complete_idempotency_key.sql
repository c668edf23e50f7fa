-- Stores the response of a key, unless the lease was lost.
UPDATE idempotency_keys
SET status = %(status)s, media_type = %(media_type)s, body = %(body)s
WHERE tenant = %(tenant)s AND actor = %(actor)s AND key = %(key)s AND lease = %(lease)s
