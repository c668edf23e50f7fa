-- Adds runs to the queue, and those that are the first of their session to its line; those that have a row are left alone. The
-- lock is that of claims. The planner setting prevents a plan from the time when the queue was empty from scanning all of it
-- later.
CREATE OR REPLACE FUNCTION enqueue_runs(
    run_ids text[], session_ids text[], positions bigint[], most_attempts integer[], priorities smallint[], shares text[],
    app_ids text[], users text[]
) RETURNS void LANGUAGE plpgsql
SET jit = off
SET enable_seqscan = off
AS $$
#variable_conflict use_column
DECLARE
    entering record;
BEGIN
    PERFORM pg_advisory_xact_lock(5067271820452102);
    FOR entering IN WITH entered AS (
        INSERT INTO run_queue (
            run_id, session_id, position, max_attempts, priority, share, app_id, user_login_name, in_line)
        SELECT run_id, session_id, position, max_attempts, priority, share, app_id, user_login_name,
               row_number() OVER (PARTITION BY session_id ORDER BY position) = 1
                   AND NOT EXISTS (
                       SELECT FROM run_queue AS earlier
                       WHERE earlier.session_id = wanted.session_id AND earlier.state <> 'done'
                         AND earlier.position < wanted.position)
        FROM unnest(run_ids, session_ids, positions, most_attempts, priorities, shares, app_ids, users)
             AS wanted (run_id, session_id, position, max_attempts, priority, share, app_id, user_login_name)
        ON CONFLICT (run_id) DO NOTHING
        RETURNING share, priority, app_id, user_login_name, position, in_line
    )
    SELECT share, min(priority) AS priority, min(app_id) AS app_id, min(user_login_name) AS user_login_name,
           min(position) AS position
    FROM entered WHERE in_line GROUP BY share
    LOOP
        PERFORM activate_share(
            entering.share, entering.priority, entering.app_id, entering.user_login_name, entering.position);
    END LOOP;
    PERFORM pg_notify('fleetlog_run_queue', '');
END
$$;
