-- The trace of the event that put a run into the queue. Volatile, so that it sees a run that was queued after the statement
-- around it began: a claim may have waited for the lock meanwhile.
CREATE OR REPLACE FUNCTION trace_of_queued_run(queued_run text) RETURNS text
LANGUAGE sql VOLATILE STRICT AS $$
    SELECT jsonb_or_null(events.metadata) ->> 'traceId'
    FROM run_queue JOIN events ON events.position = run_queue.position
    WHERE run_queue.run_id = queued_run
$$;
