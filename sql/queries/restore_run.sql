-- Puts a run back into the queue with values from the log; an existing row is left alone.
INSERT INTO run_queue (run_id, session_id, position, attempts, max_attempts, lease_generation, available_at, priority, share,
                       app_id, user_login_name)
VALUES (%(run_id)s, %(session_id)s, %(position)s, %(attempts)s, %(max_attempts)s, %(lease_generation)s,
        coalesce(%(available_at)s, clock_timestamp()), %(priority)s, %(share)s, %(app_id)s, %(user_login_name)s)
ON CONFLICT (run_id) DO NOTHING
RETURNING run_id
