-- Parks runs whose holder, by its lease generation, has let go of them; `woken`: what they wait for has come meanwhile;
-- `ends`: to end them. One that waits for a person is claimed to be ended at `until`, when its agent's time is over. They are
-- looked at once right away, which sees what came before this.
UPDATE run_queue
SET state = CASE WHEN woken THEN 'ready' ELSE 'waiting' END, waits_for = parked.waits_for,
    available_at = CASE WHEN woken THEN clock_timestamp() ELSE until END,
    waiting_since = clock_timestamp(), look_at = clock_timestamp(), lease_owner = NULL, lease_expires_at = NULL,
    ends = parked.ends OR parked.waits_for = 'person' AND NOT woken
FROM unnest(%(run_ids)s::text[], %(generations)s::bigint[], %(waits_for)s::text[], %(until)s::timestamptz[],
            %(woken)s::boolean[], %(ends)s::boolean[])
     AS parked (run_id, generation, waits_for, until, woken, ends)
WHERE run_queue.run_id = parked.run_id AND state = 'leased' AND lease_generation = generation
