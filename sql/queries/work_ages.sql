-- What alerts look at: for how many seconds the oldest due run and effect have waited, the numbers of runs and effects whose
-- lease has expired, of open questions, of session workers whose last sync failed, and whether the queue is paused.
SELECT coalesce((SELECT extract(epoch FROM clock_timestamp() - min(available_at)) FROM run_queue
                 WHERE state = 'ready' AND available_at <= clock_timestamp() AND (in_line OR waits_for IS NOT NULL)), 0)::float8,
       coalesce((SELECT extract(epoch FROM clock_timestamp() - min(available_at)) FROM effects
                 WHERE state = 'ready' AND available_at <= clock_timestamp()), 0)::float8,
       (SELECT count(*) FROM run_queue WHERE state = 'leased' AND lease_expires_at <= clock_timestamp()),
       (SELECT count(*) FROM effects WHERE state = 'leased' AND lease_expires_at <= clock_timestamp()),
       (SELECT count(*) FROM read_models.human_loop q JOIN projection_versions v
               ON v.projection = 'human_loop' AND v.state = 'active' AND v.version = q.version
        WHERE q.status = 'open'),
       (SELECT count(*) FROM read_models.session_workers w JOIN projection_versions v
               ON v.projection = 'session_workers' AND v.state = 'active' AND v.version = w.version
        WHERE w.last_sync_status = 'failed' AND w.state <> 'deleted'),
       run_queue_is_paused()
