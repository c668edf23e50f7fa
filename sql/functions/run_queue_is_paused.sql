-- Whether the run queue is paused, by the log itself: nothing is claimed after a pause's answer, however far the process
-- managers are behind.
CREATE OR REPLACE FUNCTION run_queue_is_paused() RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT coalesce((SELECT type = 'queue.paused' FROM events
                     WHERE tenant = 'default' AND stream = 'queue:runs' AND type IN ('queue.paused', 'queue.resumed')
                     ORDER BY seq DESC LIMIT 1), false)
$$;
