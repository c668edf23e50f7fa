-- Puts runs into the line that are due and the first of their session; the others of them are left alone.
CREATE OR REPLACE FUNCTION line_up_runs(candidates text[]) RETURNS void LANGUAGE sql AS $$
    WITH lined_up AS (
        UPDATE run_queue SET in_line = true
        WHERE run_id = ANY(candidates) AND state = 'ready' AND waits_for IS NULL AND available_at <= clock_timestamp()
          AND NOT EXISTS (
              SELECT FROM run_queue AS earlier
              WHERE earlier.session_id = run_queue.session_id AND earlier.state <> 'done'
                AND earlier.position < run_queue.position)
        RETURNING share, priority, app_id, user_login_name, position
    )
    SELECT activate_share(share, min(priority), min(app_id), min(user_login_name), min(position))
    FROM lined_up GROUP BY share
$$;
