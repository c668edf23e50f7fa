-- Runs that should be in the queue's line and are not, at most so many: processes of the version before have queued or ended
-- some, while this one was deployed. And one run of each share that has some in the line and does not take turns.
(SELECT run_id FROM run_queue
 WHERE state = 'ready' AND NOT in_line AND waits_for IS NULL AND available_at <= clock_timestamp()
   AND NOT EXISTS (
       SELECT FROM run_queue AS earlier
       WHERE earlier.session_id = run_queue.session_id AND earlier.state <> 'done' AND earlier.position < run_queue.position)
 LIMIT %(limit)s)
UNION ALL
(SELECT min(run_id) FROM run_queue
 WHERE state = 'ready' AND in_line AND share NOT IN (SELECT share FROM run_queue_shares WHERE active)
 GROUP BY share
 LIMIT %(limit)s)
