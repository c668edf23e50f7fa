-- For processes of the version before; the others call claim_runs_2. Parked runs (state waiting) are left to these.
--
-- Claims due runs, oldest first: of each session the oldest run that has not ended, if it is due. A run that holds a lease
-- or waits for its retry blocks the later ones of its session. At most `max_running` runs hold leases at once; none is
-- claimed while the queue is paused. `only_stale`: claims only runs whose lease has expired. `taken_from`: whose lease that
-- was, null for a run that was ready. Claims are serialized by an advisory lock, so that the limit is exact: the statement
-- after the lock sees what earlier claims committed.
--
-- If fewer than `most` rows were due, appends one row with a null run and `due_in`, the seconds until the next may be
-- claimed: <= 0 if now, null if nothing is scheduled. At the limit of running runs, that is the first expiry of a lease.
-- Runs that wait for an older run of their session or for the queue to be resumed do not count: the end of a run and the
-- resumption are notified.
--
-- The planner settings avoid planning at every call, and prevent a plan from the time when the queue was empty from scanning
-- all of it later.
CREATE OR REPLACE FUNCTION claim_runs(
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
