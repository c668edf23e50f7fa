-- Claims due effects: of each effect key (column `lane`) the oldest due one, unless another of the key holds a valid lease. An
-- effect of `first_kinds` whose key waits for a slot (worker_places: at most max_workers in all, max_starting of them
-- starting) needs a free one; the oldest come first. Claims are serialized by an advisory lock, so that keys and limits are
-- exact: the statement after the lock sees what earlier claims committed. `taken_from`: whose lease had expired, null for an
-- effect that was ready.
--
-- If fewer than `most` rows were due, appends one row with a null effect and `due_in`, the seconds until the next is due:
-- <= 0 if it is due now, null if nothing is scheduled. Effects that wait for another of their key count from the expiry of its
-- lease; those that wait for a slot do not count while none is free. The end of an effect and a freed slot are notified.
--
-- The planner settings avoid planning at every call, and prevent a plan from the time when the ledger was empty from
-- scanning all of it later.
CREATE OR REPLACE FUNCTION claim_effects(
    claimer text, most integer, duration interval, first_kinds text[], max_workers integer, max_starting integer
) RETURNS TABLE (
    effect_id text, kind text, params jsonb, attempts integer, lease_generation bigint, metadata jsonb, taken_from text,
    due_in float8)
LANGUAGE plpgsql
SET jit = off
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
    WITH slots AS (
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
        WHERE NOT waits OR turn <= (SELECT free FROM slots)
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
        WITH slots AS (
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
              AND ((SELECT free FROM slots) > 0
                   OR NOT (kind = ANY(first_kinds) AND worker_places.stage IS NOT DISTINCT FROM 'waiting'));
    END IF;
END
$$;
