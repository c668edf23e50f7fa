-- Seconds until the next run may become due; NULL when none waits. What waits behind an older run of its session becomes
-- due with that one's end, which is told.
WITH heads AS (
    SELECT DISTINCT ON (session_id) state, available_at, lease_expires_at
    FROM run_queue
    WHERE state <> 'done'
    ORDER BY session_id, position
)
SELECT greatest(0, extract(epoch FROM min(CASE state WHEN 'ready' THEN available_at ELSE lease_expires_at END)
       - clock_timestamp()))::float8
FROM heads
