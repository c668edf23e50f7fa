-- Lets parked runs be claimed again.
UPDATE run_queue SET state = 'ready', available_at = clock_timestamp()
WHERE run_id = ANY(%(run_ids)s::text[]) AND state = 'waiting'
