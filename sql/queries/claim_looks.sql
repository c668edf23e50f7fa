-- Parked runs that are to be looked at now, for one process alone. Looks become rarer the longer a run waits: the next one is
-- due after as long as it has waited, within bounds. The last row has no run, but the seconds until the next look is due.
WITH due AS (
    SELECT run_id FROM run_queue
    WHERE state = 'waiting' AND look_at <= clock_timestamp()
    ORDER BY look_at
    LIMIT %(limit)s
    FOR UPDATE SKIP LOCKED
),
looked AS (
    UPDATE run_queue
    SET look_at = clock_timestamp() + least(%(rarest)s, greatest(%(soonest)s, clock_timestamp() - waiting_since))
    FROM due WHERE run_queue.run_id = due.run_id
    RETURNING run_queue.*
)
SELECT run_id, session_id, waits_for, lease_generation, NULL::float8 AS due_in FROM looked
UNION ALL
SELECT NULL, NULL, NULL, NULL,
       extract(epoch FROM least(
           (SELECT min(look_at) FROM looked),
           (SELECT min(look_at) FROM run_queue WHERE state = 'waiting' AND look_at > clock_timestamp())
       ) - clock_timestamp())::float8
