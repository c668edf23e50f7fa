-- Seconds until the next effect becomes due, none or less when it is; NULL when none is to come by itself: one that waits
-- for a place is due when a place becomes free, which is told.
WITH places AS (
    SELECT least(%(max_workers)s - count(*), %(max_starting)s - count(*) FILTER (WHERE stage = 'starting')) AS free
    FROM worker_places WHERE stage <> 'waiting'
)
SELECT extract(epoch FROM min(CASE state WHEN 'ready' THEN available_at ELSE lease_expires_at END)
       - clock_timestamp())::float8
FROM effects LEFT JOIN worker_places USING (lane)
WHERE state IN ('ready', 'leased')
  AND ((SELECT free FROM places) > 0
       OR NOT (state = 'ready' AND kind = ANY(%(first_kinds)s) AND worker_places.stage IS NOT DISTINCT FROM 'waiting'))
