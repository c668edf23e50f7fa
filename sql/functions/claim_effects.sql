-- Claim due effects: of each lane the oldest one that is due, when none of it is being performed. Claims are made one at a
-- time, so that lanes and limits are exact; the statement after the lock sees what the claims before it committed.
CREATE OR REPLACE FUNCTION claim_effects(
    claimer text, most integer, duration interval, starting_kinds text[], max_starting integer
) RETURNS TABLE (effect_id text, kind text, params jsonb, attempts integer, lease_generation bigint, metadata jsonb)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
    PERFORM pg_advisory_xact_lock(5067271820452101);
    RETURN QUERY
    WITH starting AS (
        SELECT count(*) AS busy FROM effects
        WHERE state = 'leased' AND lease_expires_at > clock_timestamp() AND kind = ANY(starting_kinds)
    ),
    due AS (
        SELECT DISTINCT ON (lane) effect_id, caused_by, kind
        FROM effects
        WHERE (state = 'ready' AND available_at <= clock_timestamp()
               OR state = 'leased' AND lease_expires_at <= clock_timestamp())
          AND NOT EXISTS (
              SELECT FROM effects AS busy
              WHERE busy.lane = effects.lane AND busy.state = 'leased' AND busy.lease_expires_at > clock_timestamp())
        ORDER BY lane, caused_by, effect_id
    ),
    ranked AS (
        SELECT effect_id, caused_by, kind = ANY(starting_kinds) AS starts,
               row_number() OVER (PARTITION BY kind = ANY(starting_kinds) ORDER BY caused_by, effect_id) AS place
        FROM due
    ),
    chosen AS (
        SELECT effect_id FROM ranked
        WHERE NOT starts OR place <= max_starting - (SELECT busy FROM starting)
        ORDER BY caused_by, effect_id
        LIMIT most
    ),
    claimed AS (
        UPDATE effects
        SET state = 'leased', attempts = attempts + 1, lease_owner = claimer, lease_generation = lease_generation + 1,
            lease_expires_at = clock_timestamp() + duration
        FROM chosen WHERE effects.effect_id = chosen.effect_id
        RETURNING effects.*
    ),
    noted AS (
        INSERT INTO effect_attempts (effect_id, attempt, owner) SELECT effect_id, attempts, claimer FROM claimed
    )
    SELECT effect_id, kind, params, attempts, lease_generation, metadata FROM claimed ORDER BY caused_by, effect_id;
END
$$;
