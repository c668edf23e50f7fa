-- Claim due effects: of each lane the oldest one that is due, when none of it is being performed. The first effect of a
-- session that waits for a place takes the next free one; those that waited longest come first. Claims are made one at a
-- time, so that lanes and limits are exact; the statement after the lock sees what the claims before it committed.
-- `taken_from` is who held a lease that has run out, null for any other effect.
--
-- When fewer than `most` were due a last row without an effect tells in `due_in` how many seconds it takes until the next
-- one is, none or less when it is; null when none will by itself. One that waits behind another of its lane is due with
-- that one's end, at the latest when its lease runs out; one that waits for a place when a place becomes free: both are told.
--
-- The planner settings spare planning at every call, and keep a plan that was made while the ledger was empty from scanning
-- it when it has grown.
CREATE OR REPLACE FUNCTION claim_effects(
    claimer text, most integer, duration interval, first_kinds text[], max_workers integer, max_starting integer
) RETURNS TABLE (
    effect_id text, kind text, params jsonb, attempts integer, lease_generation bigint, metadata jsonb, taken_from text,
    due_in float8)
LANGUAGE plpgsql
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
SET enable_bitmapscan = off
SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_column
DECLARE
    claimed integer;
BEGIN
    PERFORM pg_advisory_xact_lock(5067271820452101);
    RETURN QUERY
    WITH places AS (
        SELECT least(max_workers - count(*), max_starting - count(*) FILTER (WHERE stage = 'starting')) AS free
        FROM worker_places WHERE stage <> 'waiting'
    ),
    due AS (
        SELECT DISTINCT ON (lane) effect_id, caused_by, lane, lease_owner,
               kind = ANY(first_kinds) AND worker_places.stage IS NOT DISTINCT FROM 'waiting' AS waits
        FROM effects LEFT JOIN worker_places USING (lane)
        WHERE (state = 'ready' AND available_at <= clock_timestamp()
               OR state = 'leased' AND lease_expires_at <= clock_timestamp())
          AND NOT EXISTS (
              SELECT FROM effects AS busy
              WHERE busy.lane = effects.lane AND busy.state = 'leased' AND busy.lease_expires_at > clock_timestamp())
        ORDER BY lane, caused_by, effect_id
    ),
    ranked AS (
        SELECT effect_id, caused_by, lane, lease_owner, waits,
               row_number() OVER (PARTITION BY waits ORDER BY caused_by, effect_id) AS turn
        FROM due
    ),
    chosen AS (
        SELECT effect_id, lane, lease_owner, waits FROM ranked
        WHERE NOT waits OR turn <= (SELECT free FROM places)
        ORDER BY caused_by, effect_id
        LIMIT most
    ),
    taken AS (
        UPDATE worker_places SET stage = 'starting' FROM chosen WHERE waits AND worker_places.lane = chosen.lane
    ),
    claimed AS (
        UPDATE effects
        SET state = 'leased', attempts = attempts + 1, lease_owner = claimer, lease_generation = lease_generation + 1,
            lease_expires_at = clock_timestamp() + duration
        FROM chosen WHERE effects.effect_id = chosen.effect_id
        RETURNING effects.*, chosen.lease_owner AS taken_from
    ),
    abandoned AS (
        UPDATE effect_attempts SET finished_at = clock_timestamp(), outcome = 'abandoned'
        FROM claimed
        WHERE claimed.taken_from IS NOT NULL
          AND effect_attempts.effect_id = claimed.effect_id AND effect_attempts.attempt = claimed.attempts - 1
    ),
    noted AS (
        INSERT INTO effect_attempts (effect_id, attempt, owner) SELECT effect_id, attempts, claimer FROM claimed
    )
    SELECT effect_id, kind, params, attempts, lease_generation, metadata, taken_from, NULL::float8
    FROM claimed ORDER BY caused_by, effect_id;
    GET DIAGNOSTICS claimed = ROW_COUNT;
    IF claimed < most THEN
        RETURN QUERY
        WITH places AS (
            SELECT least(max_workers - count(*), max_starting - count(*) FILTER (WHERE stage = 'starting')) AS free
            FROM worker_places WHERE stage <> 'waiting'
        )
        SELECT NULL::text, NULL::text, NULL::jsonb, NULL::integer, NULL::bigint, NULL::jsonb, NULL::text,
               extract(epoch FROM min(CASE state WHEN 'ready' THEN available_at ELSE lease_expires_at END)
                       - clock_timestamp())::float8
        FROM effects LEFT JOIN worker_places USING (lane)
        WHERE state = 'leased'
           OR state = 'ready'
              AND NOT EXISTS (
                  SELECT FROM effects AS busy
                  WHERE busy.lane = effects.lane AND busy.state = 'leased' AND busy.lease_expires_at > clock_timestamp())
              AND ((SELECT free FROM places) > 0
                   OR NOT (kind = ANY(first_kinds) AND worker_places.stage IS NOT DISTINCT FROM 'waiting'));
    END IF;
END
$$;
