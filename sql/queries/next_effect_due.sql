-- Seconds until the next effect becomes due, none or less when it is; NULL when none is to come by itself. One that waits
-- behind another of its lane is due with that one's end, at the latest when its lease runs out; one that waits for a
-- place when a place becomes free: both are told.
WITH places AS (
    SELECT least(%(max_workers)s - count(*), %(max_starting)s - count(*) FILTER (WHERE stage = 'starting')) AS free
    FROM worker_places WHERE stage <> 'waiting'
)
SELECT extract(epoch FROM min(CASE state WHEN 'ready' THEN available_at ELSE lease_expires_at END)
       - clock_timestamp())::float8
FROM effects LEFT JOIN worker_places USING (lane)
WHERE state = 'leased'
   OR state = 'ready'
      AND NOT EXISTS (
          SELECT FROM effects AS busy
          WHERE busy.lane = effects.lane AND busy.state = 'leased' AND busy.lease_expires_at > clock_timestamp())
      AND ((SELECT free FROM places) > 0
           OR NOT (kind = ANY(%(first_kinds)s) AND worker_places.stage IS NOT DISTINCT FROM 'waiting'))
