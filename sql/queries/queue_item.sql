-- One row of the run queue.
SELECT run_id, session_id, state, position, attempts, max_attempts, available_at, lease_owner, lease_generation,
       lease_expires_at
FROM run_queue WHERE run_id = %(run_id)s
