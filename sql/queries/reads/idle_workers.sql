-- Session workers that have been idle since before a time, the longest idle first, without those of sessions with open
-- questions. Those whose syncs fail come last, so that they keep no other from its turn, and without `failing_too` only after
-- pauses.
SELECT w.key
FROM projection_versions v
JOIN read_models.session_workers w ON w.version = v.version AND w.tenant = %(tenant)s AND w.idle_since < %(before)s
CROSS JOIN LATERAL (
    SELECT coalesce((w.body #>> '{worker,sync_failures}')::integer, 0) AS failures,
           (w.body #>> '{worker,sync_failed_at}')::timestamptz AS failed_at
) AS syncs
WHERE v.projection = 'session_workers' AND v.state = 'active'
  AND (%(failing_too)s OR failures = 0 OR failed_at <= clock_timestamp() - pause_of_syncs(failures))
  AND NOT EXISTS (
      SELECT FROM projection_versions rv
      JOIN read_models.runs r ON r.version = rv.version AND r.tenant = w.tenant AND r.session_id = w.key
      WHERE rv.projection = 'runs' AND rv.state = 'active' AND r.open_questions > 0
  )
ORDER BY failures > 0, w.idle_since
LIMIT %(limit)s
