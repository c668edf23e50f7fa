-- External runs (without a provider) that others still execute, and that were bound or reported last before a time, the
-- longest silent first. The last report is read from the log: the read model does not see every event.
SELECT r.key
FROM projection_versions v
JOIN read_models.runs r ON r.version = v.version AND r.tenant = %(tenant)s
    AND r.provider = '' AND r.state IN ('running', 'waiting_human')
CROSS JOIN LATERAL (
    SELECT e.occurred_at FROM events e
    WHERE e.tenant = %(tenant)s AND e.stream = 'run:' || r.key
    ORDER BY e.seq DESC
    LIMIT 1
) last
WHERE v.projection = 'runs' AND v.state = 'active'
  AND (last.occurred_at < %(silent_before)s AND r.open_questions = 0
       OR (r.body ->> 'created_at')::timestamptz < %(bound_before)s)
ORDER BY last.occurred_at
LIMIT %(limit)s
