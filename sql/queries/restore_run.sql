-- Puts a run back into the queue with values from the log; an existing row is left alone.
WITH restored AS (
    INSERT INTO run_queue (run_id, session_id, position, attempts, max_attempts, lease_generation, available_at)
    VALUES (%(run_id)s, %(session_id)s, %(position)s, %(attempts)s, %(max_attempts)s, %(lease_generation)s,
            coalesce(%(available_at)s, clock_timestamp()))
    ON CONFLICT (run_id) DO NOTHING
    RETURNING run_id
)
SELECT run_id, pg_notify('fleetlog_run_queue', '') FROM restored
