-- Claims due runs: first those that were parked and are woken, or whose time has come; then those whose lease has expired
-- and those that are ready, oldest first. Of each session only the oldest run that has not ended is claimed: one that holds a
-- lease, waits for its retry or is parked blocks the later ones of its session. At most `max_running` runs hold leases at
-- once. While the queue is paused, only parked runs are claimed: they have begun. `only_stale`: claims only runs whose lease
-- has expired. `taken_from`: whose lease that was, null for a run that held none. Claims are serialized by an advisory lock,
-- so that the limit is exact: the statement after the lock sees what earlier claims committed.
--
-- If fewer than `most` rows were claimed, appends one row with a null run and `due_in`, the seconds until the next may be
-- claimed, null if nothing is scheduled: a lease expires, or the time of a retry or of a parked run comes. What else makes a
-- run claimable is notified: the end of another one, a wake-up, the resumption of the queue.
--
-- The planner settings avoid planning at every call, and prevent a plan from the time when the queue was empty from scanning
-- all of it later.
CREATE OR REPLACE FUNCTION claim_runs_2(
    claimer text, most integer, duration interval, max_running integer, only_stale boolean
) RETURNS TABLE (claimed_run text, claimed_generation bigint, taken_from text, due_in float8) LANGUAGE plpgsql
SET jit = off
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
SET enable_bitmapscan = off
SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    at timestamptz;
    room bigint;
    claimed integer;
BEGIN
    PERFORM pg_advisory_xact_lock(5067271820452102);
    at := clock_timestamp();
    SELECT greatest(0, least(most, max_running - count(*))) INTO room
    FROM run_queue WHERE state = 'leased' AND lease_expires_at > at;
    RETURN QUERY
    WITH parked AS (
        SELECT run_id, lease_owner, 0 AS rank, 0::bigint AS turn FROM run_queue
        WHERE waits_for IS NOT NULL AND state IN ('ready', 'waiting') AND available_at <= at AND NOT only_stale
        ORDER BY available_at
        LIMIT room
        FOR UPDATE SKIP LOCKED
    ),
    due AS (
        SELECT run_id, lease_owner, 1 AS rank, position AS turn FROM run_queue
        WHERE state <> 'done'
          AND (state = 'ready' AND waits_for IS NULL AND NOT only_stale AND available_at <= at
               OR state = 'leased' AND lease_expires_at <= at)
          AND NOT EXISTS (
              SELECT FROM run_queue AS earlier
              WHERE earlier.session_id = run_queue.session_id AND earlier.state <> 'done'
                AND earlier.position < run_queue.position)
          AND NOT (SELECT run_queue_is_paused())
        ORDER BY position
        LIMIT room
        FOR UPDATE SKIP LOCKED
    ),
    chosen AS (
        SELECT run_id, lease_owner FROM (SELECT * FROM parked UNION ALL SELECT * FROM due) AS both_kinds
        ORDER BY rank, turn
        LIMIT room
    )
    UPDATE run_queue
    SET state = 'leased', attempts = attempts + CASE WHEN waits_for IS NULL THEN 1 ELSE 0 END, waits_for = NULL,
        waiting_since = NULL, look_at = NULL, lease_owner = claimer, lease_generation = lease_generation + 1,
        lease_expires_at = at + duration
    FROM chosen WHERE run_queue.run_id = chosen.run_id
    RETURNING run_queue.run_id, run_queue.lease_generation, chosen.lease_owner, NULL::float8;
    GET DIAGNOSTICS claimed = ROW_COUNT;
    IF claimed < most THEN
        RETURN QUERY
        SELECT NULL::text, NULL::bigint, NULL::text,
               extract(epoch FROM least(
                   (SELECT min(lease_expires_at) FROM run_queue WHERE state = 'leased'),
                   (SELECT min(available_at) FROM run_queue
                    WHERE state IN ('ready', 'waiting') AND attempts > 0 AND available_at > at)
               ) - clock_timestamp())::float8;
    END IF;
END
$$;
