-- Puts the next runs of the sessions of runs that have just ended into the line. The caller holds the lock of claims. The planner
-- setting prevents a plan from the time when the queue was empty from scanning all of it later.
CREATE OR REPLACE FUNCTION line_up_next_runs(run_ids text[]) RETURNS void LANGUAGE plpgsql
SET enable_seqscan = off
AS $$
BEGIN
    PERFORM line_up_runs(ARRAY(
        SELECT next.run_id
        FROM (SELECT DISTINCT session_id FROM run_queue WHERE run_id = ANY(run_ids)) AS of_session
        CROSS JOIN LATERAL (
            SELECT run_id FROM run_queue
            WHERE run_queue.session_id = of_session.session_id AND state <> 'done'
            ORDER BY position
            LIMIT 1
        ) AS next));
END
$$;
