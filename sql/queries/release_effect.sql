-- Releases an effect whose effect worker ends: others may claim it at once.
WITH released AS (
    UPDATE effects
    SET state = 'ready', available_at = clock_timestamp(), lease_owner = NULL, lease_expires_at = NULL
    WHERE effect_id = %(effect_id)s AND state = 'leased' AND lease_generation = %(generation)s
    RETURNING effect_id, attempts
),
noted AS (
    UPDATE effect_attempts SET finished_at = clock_timestamp(), outcome = 'interrupted'
    FROM released
    WHERE effect_attempts.effect_id = released.effect_id AND effect_attempts.attempt = released.attempts
)
SELECT pg_notify('fleetlog_effects', '') FROM released
