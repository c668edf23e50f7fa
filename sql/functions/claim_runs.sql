-- Claim due runs, oldest first: of each session the oldest run that has not ended, when it is due. A run that is leased
-- or waits for its retry holds back the later ones of its session. At most `max_running` runs hold a lease at once, and
-- none is claimed while the queue is paused. `only_stale`: none but those whose lease has run out. `taken_from` is who held
-- such a lease, null for any other run. Claims are made one at a time, so that the limit is exact; the statement after the
-- lock sees what the claims before it committed.
--
-- When fewer than `most` were due a last row without a run tells in `due_in` how many seconds it takes until the next one
-- may be, none or less when it is; null when none will by itself. What waits behind an older run of its session becomes
-- due with that one's end, what waits for the queue's resumption with that: both are told. While as many run as may, the
-- next chance is the first lease that runs out; an end is told.
--
-- The planner settings spare planning at every call, and keep a plan that was made while the queue was empty from scanning
-- it when it has grown.
CREATE OR REPLACE FUNCTION claim_runs(
    claimer text, most integer, duration interval, max_running integer, only_stale boolean
) RETURNS TABLE (claimed_run text, claimed_generation bigint, taken_from text, due_in float8) LANGUAGE plpgsql
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
SET enable_bitmapscan = off
SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    claimed integer;
BEGIN
    PERFORM pg_advisory_xact_lock(5067271820452102);
    RETURN QUERY
    WITH running AS (
        SELECT count(*) AS busy FROM run_queue WHERE state = 'leased' AND lease_expires_at > clock_timestamp()
    ),
    due AS (
        SELECT run_id, lease_owner FROM run_queue
        WHERE state <> 'done'
          AND (state = 'ready' AND NOT only_stale AND available_at <= clock_timestamp()
               OR state = 'leased' AND lease_expires_at <= clock_timestamp())
          AND NOT EXISTS (
              SELECT FROM run_queue AS earlier
              WHERE earlier.session_id = run_queue.session_id AND earlier.state <> 'done'
                AND earlier.position < run_queue.position)
          AND NOT (SELECT run_queue_is_paused())
        ORDER BY position
        LIMIT greatest(0, least(most, max_running - (SELECT busy FROM running)))
        FOR UPDATE SKIP LOCKED
    )
    UPDATE run_queue
    SET state = 'leased', attempts = attempts + 1, lease_owner = claimer, lease_generation = lease_generation + 1,
        lease_expires_at = clock_timestamp() + duration
    FROM due WHERE run_queue.run_id = due.run_id
    RETURNING run_queue.run_id, run_queue.lease_generation, due.lease_owner, NULL::float8;
    GET DIAGNOSTICS claimed = ROW_COUNT;
    IF claimed < most THEN
        RETURN QUERY
        WITH heads AS (
            SELECT DISTINCT ON (session_id) state, available_at, lease_expires_at
            FROM run_queue
            WHERE state <> 'done'
            ORDER BY session_id, position
        ),
        running AS (
            SELECT count(*) AS busy FROM run_queue WHERE state = 'leased' AND lease_expires_at > clock_timestamp()
        )
        SELECT NULL::text, NULL::bigint, NULL::text,
               extract(epoch FROM min(CASE state WHEN 'ready' THEN available_at ELSE lease_expires_at END)
                       - clock_timestamp())::float8
        FROM heads
        WHERE NOT run_queue_is_paused()
          AND (state = 'leased' OR (SELECT busy FROM running) < max_running);
    END IF;
END
$$;
