-- Claims due effects: of each effect key (column `lane`) the oldest due one that there is a slot for, unless another of the key
-- holds a valid lease. There are slots of three kinds: for long work (`long_kinds`), for long work that a stop waits for (its
-- parameter `before_stop` is true), and for all other effects; each kind is filled with the oldest. An effect of `first_kinds`
-- whose key waits for a worker slot (worker_places: at most max_workers in all, max_starting of them starting) needs a free
-- one; the oldest come first. Claims are serialized by an advisory lock, so that keys and limits are exact: the statement
-- after the lock sees what earlier claims committed. `taken_from`: whose lease had expired, null for an effect that was ready.
--
-- At the end comes one row with a null effect and `due_in`, the seconds until the next effect is due that there is still a slot
-- for: <= 0 if it is due now, null if nothing is scheduled. Effects that wait for another of their key count from the expiry of
-- its lease; those that wait for a worker slot do not count while none is free. The end of an effect and a freed worker slot
-- are notified.
--
-- The planner settings avoid planning at every call, and prevent a plan from the time when the ledger was empty from
-- scanning all of it later.
CREATE OR REPLACE FUNCTION claim_effects_2(
    claimer text, short_slots integer, long_slots integer, stop_slots integer, duration interval, first_kinds text[],
    long_kinds text[], before_stop text, max_workers integer, max_starting integer
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
    slots integer[] := ARRAY[short_slots, long_slots, stop_slots];
    chosen text[];
    used integer[];
BEGIN
    PERFORM pg_advisory_xact_lock(5067271820452101);
    WITH worker_slots AS (
        SELECT least(max_workers - count(*), max_starting - count(*) FILTER (WHERE stage = 'starting')) AS free
        FROM worker_places WHERE stage <> 'waiting'
    ),
    open AS (
        SELECT effect_id, caused_by, lane,
               CASE WHEN NOT kind = ANY(long_kinds) THEN 1 WHEN params -> before_stop = 'true' THEN 3 ELSE 2 END AS slot,
               kind = ANY(first_kinds) AND worker_places.stage IS NOT DISTINCT FROM 'waiting' AS waits
        FROM effects LEFT JOIN worker_places USING (lane)
        WHERE (state = 'ready' AND available_at <= clock_timestamp()
               OR state = 'leased' AND lease_expires_at <= clock_timestamp())
          AND NOT EXISTS (
              SELECT FROM effects AS busy
              WHERE busy.lane = effects.lane AND busy.state = 'leased' AND busy.lease_expires_at > clock_timestamp())
    ),
    due AS (
        SELECT DISTINCT ON (lane) effect_id, caused_by, slot, waits FROM open
        WHERE slots[slot] > 0
        ORDER BY lane, caused_by, effect_id
    ),
    allowed AS (
        SELECT effect_id, caused_by, slot,
               NOT waits OR row_number() OVER (PARTITION BY waits ORDER BY caused_by, effect_id)
                            <= (SELECT free FROM worker_slots) AS allowed
        FROM due
    ),
    ranked AS (
        SELECT effect_id, slot, row_number() OVER (PARTITION BY slot ORDER BY caused_by, effect_id) AS turn
        FROM allowed WHERE allowed
    )
    SELECT array_agg(effect_id),
           ARRAY[count(*) FILTER (WHERE slot = 1), count(*) FILTER (WHERE slot = 2), count(*) FILTER (WHERE slot = 3)]
    INTO chosen, used
    FROM ranked WHERE turn <= slots[slot];
    IF chosen IS NOT NULL THEN
        RETURN QUERY
        WITH before AS (
            SELECT effects.effect_id, lane, lease_owner FROM effects JOIN unnest(chosen) AS found (effect_id) USING (effect_id)
        ),
        taken AS (
            UPDATE worker_places SET stage = 'starting'
            FROM before JOIN effects USING (effect_id)
            WHERE worker_places.lane = before.lane AND worker_places.stage = 'waiting' AND effects.kind = ANY(first_kinds)
        ),
        claimed AS (
            UPDATE effects
            SET state = 'leased', attempts = attempts + 1, lease_owner = claimer, lease_generation = lease_generation + 1,
                lease_expires_at = clock_timestamp() + duration
            FROM before WHERE effects.effect_id = before.effect_id
            RETURNING effects.*, before.lease_owner AS taken_from
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
    END IF;
    RETURN QUERY
    WITH worker_slots AS (
        SELECT least(max_workers - count(*), max_starting - count(*) FILTER (WHERE stage = 'starting')) AS free
        FROM worker_places WHERE stage <> 'waiting'
    ),
    open AS (
        SELECT state, available_at, lease_expires_at, lane,
               CASE WHEN NOT kind = ANY(long_kinds) THEN 1 WHEN params -> before_stop = 'true' THEN 3 ELSE 2 END AS slot,
               kind = ANY(first_kinds) AND worker_places.stage IS NOT DISTINCT FROM 'waiting' AS waits
        FROM effects LEFT JOIN worker_places USING (lane)
        WHERE state IN ('ready', 'leased')
    )
    SELECT NULL::text, NULL::text, NULL::jsonb, NULL::integer, NULL::bigint, NULL::jsonb, NULL::text,
           extract(epoch FROM min(CASE state WHEN 'ready' THEN available_at ELSE lease_expires_at END)
                   - clock_timestamp())::float8
    FROM open
    WHERE state = 'leased' AND lease_expires_at > clock_timestamp()
       OR slots[slot] > used[slot]
          AND NOT EXISTS (
              SELECT FROM effects AS busy
              WHERE busy.lane = open.lane AND busy.state = 'leased' AND busy.lease_expires_at > clock_timestamp())
          AND ((SELECT free FROM worker_slots) > 0 OR NOT waits);
END
$$;
