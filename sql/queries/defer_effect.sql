-- Puts an effect back whose try does not count, because what it needs is down: to be claimed again after a delay. No
-- row: the lease is lost.
WITH deferred AS (
    UPDATE effects
    SET state = 'ready', attempts = attempts - 1, last_error = %(error)s,
        available_at = clock_timestamp() + %(delay)s, lease_owner = NULL, lease_expires_at = NULL
    WHERE effect_id = %(effect_id)s AND state = 'leased' AND lease_generation = %(generation)s
    RETURNING effect_id, attempts
),
forgotten AS (
    DELETE FROM effect_attempts USING deferred
    WHERE effect_attempts.effect_id = deferred.effect_id AND effect_attempts.attempt = deferred.attempts + 1
)
SELECT true FROM deferred
