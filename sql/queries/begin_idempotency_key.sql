-- Claims a key, or returns what it holds: whether this request has claimed it, then fingerprint and response. Deletes up to
-- a hundred expired keys on the way.
WITH dropped AS (
    DELETE FROM idempotency_keys
    WHERE (tenant, actor, key) IN (
        SELECT tenant, actor, key FROM idempotency_keys
        WHERE expires_at < clock_timestamp() AND (actor, key) <> (%(actor)s, %(key)s)
        ORDER BY expires_at LIMIT 100
        FOR UPDATE SKIP LOCKED
    )
), claimed AS (
    INSERT INTO idempotency_keys AS known (tenant, actor, key, fingerprint, lease, leased_until, expires_at)
    VALUES (
        %(tenant)s, %(actor)s, %(key)s, %(fingerprint)s, %(lease)s,
        clock_timestamp() + %(lease_s)s * interval '1 second', clock_timestamp() + %(keep_s)s * interval '1 second'
    )
    ON CONFLICT (tenant, actor, key) DO UPDATE
    SET fingerprint = excluded.fingerprint, lease = excluded.lease, leased_until = excluded.leased_until,
        expires_at = excluded.expires_at, status = NULL, media_type = NULL, body = NULL
    WHERE known.expires_at < clock_timestamp()
       OR (known.status IS NULL AND known.leased_until < clock_timestamp() AND known.fingerprint = excluded.fingerprint)
    RETURNING true
)
SELECT true, %(fingerprint)s, NULL::integer, NULL::text, NULL::bytea FROM claimed
UNION ALL
SELECT false, fingerprint, status, media_type, body
FROM idempotency_keys
WHERE tenant = %(tenant)s AND actor = %(actor)s AND key = %(key)s AND NOT EXISTS (SELECT FROM claimed)
