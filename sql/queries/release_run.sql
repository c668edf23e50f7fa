-- Releases a run, to be claimed again after a delay. The claim of one that was not begun does not count.
WITH released AS (
    UPDATE run_queue
    SET state = 'ready', attempts = attempts - CASE WHEN %(begun)s THEN 0 ELSE 1 END,
        available_at = clock_timestamp() + %(delay)s, lease_owner = NULL, lease_expires_at = NULL
    WHERE run_id = %(run_id)s AND state = 'leased' AND lease_generation = %(generation)s
    RETURNING run_id
)
SELECT pg_notify('fleetlog_run_queue', '') FROM released
