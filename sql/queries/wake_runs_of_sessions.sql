-- Lets the parked runs of sessions be claimed again.
UPDATE run_queue SET state = 'ready', available_at = clock_timestamp()
WHERE session_id = ANY(%(session_ids)s::text[]) AND state = 'waiting'
