-- Every user's projection with its lag: the events of its topics that it has not processed, counted up to a bound, and the
-- seconds since the first of them was recorded. A holder that has been silent for a while does not run; the lag of one that has
-- not run for long is not counted.
SELECT p.name, p.class, p.view_class, p.position, p.holder, p.restarts, p.error_position, p.error_type, p.error, p.heartbeat_at,
       CASE WHEN p.heartbeat_at < clock_timestamp() - %(silence)s::interval THEN 'not running' ELSE p.status END AS status,
       behind.events AS lag_events, p.heartbeat_at >= clock_timestamp() - %(counted)s::interval AS lag_is_counted,
       coalesce(greatest(extract(epoch FROM clock_timestamp() - first.recorded_at), 0), 0)::float8 AS lag_seconds
FROM user_projections p
CROSS JOIN LATERAL (
    SELECT count(*) AS events, min(next.position) AS first
    FROM (
        (SELECT position FROM events
         WHERE cardinality(p.topics) = 0 AND p.heartbeat_at >= clock_timestamp() - %(counted)s::interval
           AND position > p.position AND tenant || '' = p.tenant
         ORDER BY position LIMIT %(most)s)
        UNION ALL
        (SELECT of_type.position
         FROM unnest(CASE WHEN p.heartbeat_at >= clock_timestamp() - %(counted)s::interval THEN p.topics END) AS wanted (type)
         CROSS JOIN LATERAL (
             SELECT position FROM events
             WHERE type = wanted.type AND position > p.position AND tenant = p.tenant
             ORDER BY position LIMIT %(most)s
         ) of_type
         ORDER BY of_type.position LIMIT %(most)s)
    ) next
) behind
LEFT JOIN events first ON first.position = behind.first
WHERE p.tenant = %(tenant)s
ORDER BY p.name
LIMIT %(limit)s
