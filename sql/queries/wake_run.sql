-- Lets a run be claimed again that a look has found changed, if it is still parked as it was then.
WITH woken AS (
    UPDATE run_queue SET state = 'ready', available_at = clock_timestamp(), ends = false
    WHERE run_id = %(run_id)s AND state = 'waiting' AND lease_generation = %(generation)s
    RETURNING run_id
)
SELECT pg_notify('fleetlog_run_queue', '') FROM woken
