-- Lets parked runs be claimed again, some of them to be ended: also those that are woken already.
UPDATE run_queue
SET state = 'ready', available_at = CASE state WHEN 'waiting' THEN clock_timestamp() ELSE available_at END, ends = woken.ends
FROM unnest(%(run_ids)s::text[], %(ends)s::boolean[]) AS woken (run_id, ends)
WHERE run_queue.run_id = woken.run_id AND waits_for IS NOT NULL AND (state = 'waiting' OR state = 'ready' AND woken.ends)
