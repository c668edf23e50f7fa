-- Marks runs as ended, deletes the secrets of their options, and puts the next ones of their sessions into the line; and lets
-- the parked runs of sessions be claimed again, since these can take a run, or never will. The lock is that of claims. The
-- planner setting prevents a plan from the time when the queue was empty from scanning all of it later.
CREATE OR REPLACE FUNCTION settle_runs(ended text[], of_sessions text[]) RETURNS void LANGUAGE plpgsql
SET jit = off
SET enable_seqscan = off
AS $$
BEGIN
    IF ended <> '{}' THEN
        PERFORM pg_advisory_xact_lock(5067271820452102);
        UPDATE run_queue SET state = 'done', lease_owner = NULL, lease_expires_at = NULL WHERE run_id = ANY(ended);
        DELETE FROM run_secrets WHERE run_id = ANY(ended);
        PERFORM line_up_runs(ARRAY(
            SELECT next.run_id
            FROM (SELECT DISTINCT session_id FROM run_queue WHERE run_id = ANY(ended)) AS of_session
            CROSS JOIN LATERAL (
                SELECT run_id FROM run_queue
                WHERE run_queue.session_id = of_session.session_id AND state <> 'done'
                ORDER BY position
                LIMIT 1
            ) AS next));
        PERFORM pg_notify('fleetlog_run_queue', '');
    END IF;
    IF of_sessions <> '{}' THEN
        UPDATE run_queue SET state = 'ready', available_at = clock_timestamp()
        WHERE session_id = ANY(of_sessions) AND state = 'waiting';
        IF FOUND THEN
            PERFORM pg_notify('fleetlog_run_queue', '');
        END IF;
    END IF;
END
$$;
