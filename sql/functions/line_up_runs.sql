-- Puts runs into the line that are due and the first of their session; the others of them are left alone. The planner setting
-- prevents a plan from the time when the queue was empty from scanning all of it later.
CREATE OR REPLACE FUNCTION line_up_runs(candidates text[]) RETURNS void LANGUAGE plpgsql
SET jit = off
SET enable_seqscan = off
AS $$
DECLARE
    entering record;
BEGIN
    FOR entering IN WITH lined_up AS (
        UPDATE run_queue SET in_line = true
        WHERE run_id = ANY(candidates) AND state = 'ready' AND waits_for IS NULL AND available_at <= clock_timestamp()
          AND NOT EXISTS (
              SELECT FROM run_queue AS earlier
              WHERE earlier.session_id = run_queue.session_id AND earlier.state <> 'done'
                AND earlier.position < run_queue.position)
        RETURNING share, priority, app_id, user_login_name, position
    )
    SELECT share, min(priority) AS priority, min(app_id) AS app_id, min(user_login_name) AS user_login_name,
           min(position) AS position
    FROM lined_up GROUP BY share
    LOOP
        PERFORM activate_share(
            entering.share, entering.priority, entering.app_id, entering.user_login_name, entering.position);
    END LOOP;
END
$$;
