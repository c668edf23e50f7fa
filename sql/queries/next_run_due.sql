-- Seconds until the next run may become due, none or less when it is; NULL when none will by itself. What waits behind
-- an older run of its session becomes due with that one's end, what waits for the queue's resumption with that: both are
-- told. While as many run as may, the next chance is the first lease that runs out; an end is told.
WITH heads AS (
    SELECT DISTINCT ON (session_id) state, available_at, lease_expires_at
    FROM run_queue
    WHERE state <> 'done'
    ORDER BY session_id, position
),
running AS (
    SELECT count(*) AS busy FROM run_queue WHERE state = 'leased' AND lease_expires_at > clock_timestamp()
)
SELECT extract(epoch FROM min(CASE state WHEN 'ready' THEN available_at ELSE lease_expires_at END)
       - clock_timestamp())::float8
FROM heads
WHERE NOT run_queue_is_paused()
  AND (state = 'leased' OR (SELECT busy FROM running) < %(max_running)s)
