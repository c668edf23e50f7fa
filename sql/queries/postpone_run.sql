-- After a failed attempt: the run may be claimed again from `available_at` on.
UPDATE run_queue
SET state = 'ready', available_at = %(available_at)s, waits_for = NULL, ends = false, lease_owner = NULL,
    lease_expires_at = NULL
WHERE run_id = %(run_id)s AND state <> 'done'
