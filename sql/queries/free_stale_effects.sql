-- Releases effects whose lease has expired: any effect worker may claim them at once.
WITH stale AS (
    UPDATE effects
    SET state = 'ready', available_at = clock_timestamp(), lease_owner = NULL, lease_expires_at = NULL
    WHERE state = 'leased' AND lease_expires_at <= clock_timestamp()
    RETURNING effect_id, attempts
),
noted AS (
    UPDATE effect_attempts SET finished_at = clock_timestamp(), outcome = 'abandoned'
    FROM stale
    WHERE effect_attempts.effect_id = stale.effect_id AND effect_attempts.attempt = stale.attempts
)
SELECT effect_id, pg_notify('fleetlog_effects', '') FROM stale ORDER BY effect_id
