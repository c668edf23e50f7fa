-- One row of the run queue; what the run waits for, if it does; and its place in the line for that, from 1, null where there is
-- none. Beyond 10,000 others the place is not exact.
WITH item AS (
    SELECT * FROM run_queue WHERE run_id = %(run_id)s
),
earlier AS (
    SELECT count(*) AS number FROM (
        SELECT FROM item JOIN run_queue ON run_queue.session_id = item.session_id
        WHERE run_queue.state <> 'done' AND run_queue.position < item.position
        LIMIT 10000) AS of_session
),
waiting AS (
    SELECT CASE
               WHEN state = 'waiting' THEN waits_for
               WHEN state <> 'ready' THEN NULL
               WHEN waits_for IS NOT NULL THEN 'turn'
               WHEN number > 0 THEN 'session'
               WHEN available_at > clock_timestamp() THEN 'retry'
               WHEN run_queue_is_paused() THEN 'resumption'
               ELSE 'turn'
           END AS for_what
    FROM item, earlier
),
own_share AS (
    SELECT share, shares.priority, since, position,
           next_turn + (SELECT count(*) FROM (
               SELECT FROM run_queue
               WHERE run_queue.share = item.share AND state = 'ready' AND in_line AND run_queue.position < item.position
               LIMIT 10000) AS before) AS turn
    FROM item JOIN run_queue_shares AS shares USING (share)
),
before AS (
    SELECT sum(number) AS number
    FROM own_share JOIN run_queue_shares AS shares ON shares.active AND shares.priority <= own_share.priority
    CROSS JOIN LATERAL (
        SELECT count(*) AS number FROM (
            SELECT FROM run_queue
            WHERE run_queue.share = shares.share AND state = 'ready' AND in_line
              AND (shares.share <> own_share.share OR run_queue.position < own_share.position)
            LIMIT CASE
                WHEN shares.priority < own_share.priority OR shares.share = own_share.share THEN 10000
                ELSE least(10000, greatest(
                    0, own_share.turn - next_turn + CASE WHEN shares.since < own_share.since THEN 1 ELSE 0 END))
            END) AS turns
    ) AS of_share
)
SELECT run_id, session_id, state, position, attempts, max_attempts, available_at, lease_owner, lease_generation,
       lease_expires_at, for_what AS waits_for,
       (CASE
           WHEN state = 'ready' AND for_what = 'session' THEN 1 + (SELECT number FROM earlier)
           WHEN item.waits_for IS NOT NULL AND for_what = 'turn' THEN 1
           WHEN for_what IN ('turn', 'resumption') THEN 1 + coalesce((SELECT number FROM before), 0)
           WHEN for_what = 'place' THEN (
               SELECT 1 + count(others.lane)
               FROM worker_places AS own LEFT JOIN worker_places AS others
                    ON others.stage = 'waiting' AND others.wanted_at < own.wanted_at
               WHERE own.lane = 'session:' || item.session_id AND own.stage = 'waiting'
               GROUP BY own.lane)
       END)::integer AS place
FROM item, waiting
