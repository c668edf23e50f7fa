-- The numbers of effects and queued runs in each state that is not final.
SELECT 'effects' AS work, state, count(*) FROM effects WHERE state IN ('ready', 'leased', 'dead') GROUP BY state
UNION ALL
SELECT 'run_queue', state, count(*) FROM run_queue WHERE state <> 'done' GROUP BY state
