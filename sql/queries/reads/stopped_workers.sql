-- Session workers that have been stopped since before a time, the longest stopped first. Those whose syncs fail come last, so that
-- they keep no other from its turn, and without `failing_too` only after pauses.
SELECT w.key
FROM projection_versions v
JOIN read_models.session_workers w ON w.version = v.version AND w.tenant = %(tenant)s AND w.stopped_since < %(before)s
CROSS JOIN LATERAL (
    SELECT coalesce((w.body #>> '{worker,sync_failures}')::integer, 0) AS failures,
           (w.body #>> '{worker,sync_failed_at}')::timestamptz AS failed_at
) AS syncs
WHERE v.projection = 'session_workers' AND v.state = 'active'
  AND (%(failing_too)s OR failures = 0 OR failed_at <= clock_timestamp() - pause_of_syncs(failures))
ORDER BY failures > 0, w.stopped_since
LIMIT %(limit)s
