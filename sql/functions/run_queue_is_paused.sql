-- Whether the run queue is paused, according to the log itself: as soon as a pause is recorded no run is claimed, however
-- far behind the process managers are.
CREATE OR REPLACE FUNCTION run_queue_is_paused() RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT coalesce((SELECT type = 'queue.paused' FROM events
                     WHERE tenant = 'default' AND stream = 'queue:runs' AND type IN ('queue.paused', 'queue.resumed')
                     ORDER BY seq DESC LIMIT 1), false)
$$;
