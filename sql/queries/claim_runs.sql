-- Claim due runs, under lock_claims: of each session the oldest run that has not ended, when it is due. A run that is leased
-- or waits for its retry holds back the later ones of its session.
WITH heads AS (
    SELECT DISTINCT ON (session_id) run_id, state, available_at, lease_expires_at, position
    FROM run_queue
    WHERE state <> 'done'
    ORDER BY session_id, position
),
chosen AS (
    SELECT run_id FROM heads
    WHERE state = 'ready' AND available_at <= clock_timestamp()
       OR state = 'leased' AND lease_expires_at <= clock_timestamp()
    ORDER BY position
    LIMIT %(limit)s
),
locked AS (
    SELECT run_id FROM run_queue WHERE run_id IN (SELECT run_id FROM chosen) FOR UPDATE SKIP LOCKED
)
UPDATE run_queue
SET state = 'leased', attempts = attempts + 1, lease_owner = %(owner)s, lease_generation = lease_generation + 1,
    lease_expires_at = clock_timestamp() + %(lease)s
FROM locked WHERE run_queue.run_id = locked.run_id
RETURNING run_queue.run_id, run_queue.lease_generation
