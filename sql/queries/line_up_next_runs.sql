-- Puts the next runs of the sessions of runs that have just ended into the line.
SELECT line_up_runs(ARRAY(
    SELECT next.run_id
    FROM (SELECT DISTINCT session_id FROM run_queue WHERE run_id = ANY(%(run_ids)s::text[])) AS of_session
    CROSS JOIN LATERAL (
        SELECT run_id FROM run_queue
        WHERE run_queue.session_id = of_session.session_id AND state <> 'done'
        ORDER BY position
        LIMIT 1
    ) AS next))
