-- Claims due runs: first those that have begun, i.e. that were parked and are woken, or whose lease has expired; then those in
-- the line. There, higher priorities come first, and within one the shares (of a tenant, app, project and user) take turns: the
-- one with the lowest next turn is next, with its oldest run. Of each session only the oldest run that has not ended is in the
-- line: one that holds a lease, waits for its retry or is parked keeps the later ones of its session out of it. At most
-- `max_running` runs hold leases at once; of one user's at most `max_per_user`, of one app's at most `max_per_app` (0: no
-- limit), except that a run that has begun goes on. While the queue is paused, only parked runs are claimed. `only_stale`:
-- claims only runs whose lease has expired. `taken_from`: whose lease that was, null for a run that held none. Claims are
-- serialized by an advisory lock, which who moves the queue takes, too, so that limits and turns are exact.
--
-- Parked runs that were woken to be ended don't wait for a place among the others: `most_ending` of them are claimed at most,
-- beyond all limits. They are marked as `ending`.
--
-- At the end comes one row with a null run and `due_in`, the seconds until the next may be claimed, null if nothing is scheduled:
-- a lease expires, or the time of a retry or of a parked run comes. What else makes a run claimable is notified: the end of
-- another one, a wake-up, the resumption of the queue.
--
-- However many runs are queued, a claim reads about as many of them as it takes, a row for each share that it visits, and the
-- leases. The planner settings avoid planning at every call, and prevent a plan from the time when the queue was empty from
-- scanning all of it later.
CREATE OR REPLACE FUNCTION claim_runs_2(
    claimer text, most integer, most_ending integer, duration interval, max_running integer, max_per_user integer,
    max_per_app integer, only_stale boolean
) RETURNS TABLE (claimed_run text, claimed_generation bigint, taken_from text, ending boolean, due_in float8)
LANGUAGE plpgsql
SET jit = off
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
SET enable_bitmapscan = off
SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    at timestamptz;
    paused boolean;
    room bigint;
    claimed bigint;
    begun boolean;
    candidates bigint;
    again text[];
    of_user jsonb := '{}';
    of_app jsonb := '{}';
BEGIN
    PERFORM pg_advisory_xact_lock(5067271820452102);
    at := clock_timestamp();
    paused := run_queue_is_paused();
    begun := EXISTS (
            SELECT FROM run_queue
            WHERE state IN ('ready', 'waiting') AND lease_generation > 0 AND waits_for IS NOT NULL AND available_at <= at)
        OR EXISTS (SELECT FROM run_queue WHERE state = 'leased' AND lease_expires_at <= at);
    IF begun THEN
        RETURN QUERY
        WITH chosen AS (
            SELECT run_id FROM run_queue
            WHERE state IN ('ready', 'waiting') AND lease_generation > 0 AND waits_for IS NOT NULL AND available_at <= at AND ends
            ORDER BY available_at
            LIMIT most_ending
            FOR UPDATE SKIP LOCKED
        )
        UPDATE run_queue
        SET state = 'leased', in_line = false, waits_for = NULL, waiting_since = NULL, look_at = NULL, ends = false,
            lease_owner = claimer, lease_generation = lease_generation + 1, lease_expires_at = at + duration
        FROM chosen WHERE run_queue.run_id = chosen.run_id
        RETURNING run_queue.run_id, run_queue.lease_generation, NULL::text, true, NULL::float8;
    END IF;
    SELECT greatest(0, least(most, max_running - count(*))) INTO room
    FROM run_queue WHERE state = 'leased' AND lease_expires_at > at;
    IF begun AND room > 0 THEN
        RETURN QUERY
        WITH parked AS (
            SELECT run_id, lease_owner, available_at AS since FROM run_queue
            WHERE state IN ('ready', 'waiting') AND lease_generation > 0 AND waits_for IS NOT NULL AND available_at <= at
              AND NOT only_stale
            ORDER BY available_at
            LIMIT room
            FOR UPDATE SKIP LOCKED
        ),
        expired AS (
            SELECT run_id, lease_owner, lease_expires_at AS since FROM run_queue
            WHERE state = 'leased' AND lease_expires_at <= at AND NOT paused
            ORDER BY lease_expires_at
            LIMIT room
            FOR UPDATE SKIP LOCKED
        ),
        chosen AS (
            SELECT run_id, lease_owner FROM (SELECT * FROM parked UNION ALL SELECT * FROM expired) AS both_kinds
            ORDER BY since
            LIMIT room
        )
        UPDATE run_queue
        SET state = 'leased', attempts = attempts + CASE WHEN waits_for IS NULL THEN 1 ELSE 0 END, in_line = false,
            waits_for = NULL, waiting_since = NULL, look_at = NULL, ends = false, lease_owner = claimer,
            lease_generation = lease_generation + 1, lease_expires_at = at + duration
        FROM chosen WHERE run_queue.run_id = chosen.run_id
        RETURNING run_queue.run_id, run_queue.lease_generation, chosen.lease_owner, false, NULL::float8;
        GET DIAGNOSTICS claimed = ROW_COUNT;
        room := room - claimed;
    END IF;
    IF room > 0 AND NOT paused AND NOT only_stale THEN
        again := ARRAY(
            SELECT run_id FROM run_queue
            WHERE state IN ('ready', 'waiting') AND lease_generation > 0 AND available_at <= at
              AND state = 'ready' AND waits_for IS NULL AND NOT in_line);
        IF again <> '{}' THEN
            PERFORM line_up_runs(again);
        END IF;
        WHILE room > 0 LOOP
            IF max_per_user > 0 OR max_per_app > 0 THEN
                SELECT coalesce(jsonb_object_agg(user_login_name, number), '{}') INTO of_user FROM (
                    SELECT user_login_name, count(*) AS number FROM run_queue
                    WHERE state = 'leased' AND lease_expires_at > at GROUP BY user_login_name) AS users;
                SELECT coalesce(jsonb_object_agg(app_id, number), '{}') INTO of_app FROM (
                    SELECT app_id, count(*) AS number FROM run_queue
                    WHERE state = 'leased' AND lease_expires_at > at GROUP BY app_id) AS apps;
            END IF;
            SELECT count(*) INTO candidates FROM (
                SELECT FROM run_queue_shares
                WHERE active
                  AND (max_per_user = 0 OR coalesce((of_user ->> user_login_name)::bigint, 0) < max_per_user)
                  AND (max_per_app = 0 OR coalesce((of_app ->> app_id)::bigint, 0) < max_per_app)
                LIMIT 2) AS one_or_two;
            EXIT WHEN candidates = 0;
            -- One round: of the shares whose turn it is, as many runs each as there is room for.
            RETURN QUERY
            WITH allowed AS (
                SELECT share, priority, app_id, user_login_name, next_turn FROM run_queue_shares
                WHERE active
                  AND (max_per_user = 0 OR coalesce((of_user ->> user_login_name)::bigint, 0) < max_per_user)
                  AND (max_per_app = 0 OR coalesce((of_app ->> app_id)::bigint, 0) < max_per_app)
                ORDER BY priority, next_turn, since
                LIMIT room
            ),
            visited AS (
                SELECT * FROM allowed WHERE priority = (SELECT min(priority) FROM allowed)
            ),
            line AS (
                SELECT share, app_id, user_login_name, run_id, position, next_turn + nth - 1 AS turn
                FROM visited CROSS JOIN LATERAL (
                    SELECT run_id, position, row_number() OVER (ORDER BY position) AS nth
                    FROM (
                        SELECT run_id, position FROM run_queue
                        WHERE run_queue.share = visited.share AND state = 'ready' AND in_line
                          AND NOT EXISTS (
                              SELECT FROM run_queue AS earlier
                              WHERE earlier.session_id = run_queue.session_id AND earlier.state <> 'done'
                                AND earlier.position < run_queue.position)
                        ORDER BY position
                        LIMIT (SELECT greatest(1, (room + count(*) - 1) / count(*)) FROM visited)
                    ) AS oldest
                ) AS numbered
            ),
            ranked AS (
                SELECT share, run_id, position, turn,
                       row_number() OVER (PARTITION BY user_login_name ORDER BY turn, position)
                           + coalesce((of_user ->> user_login_name)::bigint, 0) AS nth_of_user,
                       row_number() OVER (PARTITION BY app_id ORDER BY turn, position)
                           + coalesce((of_app ->> app_id)::bigint, 0) AS nth_of_app
                FROM line
            ),
            chosen AS (
                SELECT share, run_id, turn FROM ranked
                WHERE (max_per_user = 0 OR nth_of_user <= max_per_user) AND (max_per_app = 0 OR nth_of_app <= max_per_app)
                ORDER BY turn, position
                LIMIT room
            ),
            served AS (
                UPDATE run_queue_shares SET next_turn = next_turn + taken
                FROM (SELECT share AS of_share, count(*) AS taken FROM chosen GROUP BY share) AS counted
                WHERE share = of_share
            ),
            empty AS (
                UPDATE run_queue_shares SET active = false
                WHERE share IN (SELECT share FROM visited) AND share NOT IN (SELECT share FROM line)
            ),
            round AS (
                UPDATE run_queue_rounds SET turn = greatest(run_queue_rounds.turn, last)
                FROM (SELECT max(turn) AS last FROM chosen) AS served_turns
                WHERE priority = (SELECT min(priority) FROM visited) AND last IS NOT NULL
            )
            UPDATE run_queue
            SET state = 'leased', attempts = attempts + 1, in_line = false, lease_owner = claimer,
                lease_generation = lease_generation + 1, lease_expires_at = at + duration
            FROM chosen WHERE run_queue.run_id = chosen.run_id
            RETURNING run_queue.run_id, run_queue.lease_generation, NULL::text, false, NULL::float8;
            GET DIAGNOSTICS claimed = ROW_COUNT;
            room := room - claimed;
            EXIT WHEN candidates = 1;  -- it has given what it has, or what there is room for
        END LOOP;
    END IF;
    RETURN QUERY
    SELECT NULL::text, NULL::bigint, NULL::text, false,
           extract(epoch FROM least(
               (SELECT min(lease_expires_at) FROM run_queue WHERE state = 'leased' AND lease_expires_at > at),
               (SELECT min(available_at) FROM run_queue
                WHERE state IN ('ready', 'waiting') AND lease_generation > 0 AND available_at > at)
           ) - clock_timestamp())::float8;
END
$$;
