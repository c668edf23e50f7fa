-- Records the end of an attempt and the effect's new state: done, obsolete, dead, or ready again after a delay. What keeps
-- one long effect of a key from succeeding keeps the others, too: they wait as long as it does. Returns whether its key has
-- more effects that are ready, now or later.
WITH settled AS (
    UPDATE effects
    SET state = %(state)s, last_error = %(error)s, available_at = clock_timestamp() + %(delay)s,
        lease_owner = NULL, lease_expires_at = NULL,
        finished_at = CASE WHEN %(state)s = 'ready' THEN NULL ELSE clock_timestamp() END
    WHERE effect_id = %(effect_id)s AND state = 'leased' AND lease_generation = %(generation)s
    RETURNING effect_id, kind, attempts, lane
),
noted AS (
    UPDATE effect_attempts SET finished_at = clock_timestamp(), outcome = %(outcome)s, error = %(error)s
    FROM settled
    WHERE effect_attempts.effect_id = settled.effect_id AND effect_attempts.attempt = settled.attempts
),
put_off AS (
    UPDATE effects SET available_at = greatest(effects.available_at, clock_timestamp() + %(delay)s)
    FROM settled
    WHERE %(outcome)s = 'failed' AND settled.kind = ANY(%(long_kinds)s::text[])
      AND effects.lane = settled.lane AND effects.state = 'ready' AND effects.kind = ANY(%(long_kinds)s::text[])
)
SELECT %(state)s = 'ready'
       OR EXISTS (SELECT FROM effects AS next WHERE next.lane = settled.lane AND next.state = 'ready')
FROM settled
