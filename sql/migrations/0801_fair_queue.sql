-- The queue is fair: runs of the same tenant, priority, app, project and user have a share of it, and the shares of a priority
-- take turns.
-- in_line: the first run of its session that has not ended, and due: it may be claimed. Whoever claims it takes it out of the
-- line. priority: 0 high, 1 normal, 2 low.
ALTER TABLE run_queue
    ADD COLUMN priority        smallint NOT NULL DEFAULT 1,
    ADD COLUMN share           text     COLLATE "C" NOT NULL DEFAULT '',
    ADD COLUMN app_id          text     COLLATE "C" NOT NULL DEFAULT '',
    ADD COLUMN user_login_name text     COLLATE "C" NOT NULL DEFAULT '',
    ADD COLUMN in_line         boolean  NOT NULL DEFAULT false;

-- active: it may have runs in the line. next_turn: of its next run; the lowest is next. since: the position of the event that
-- made it active, for those with the same turn.
CREATE TABLE run_queue_shares (
    share           text     COLLATE "C" NOT NULL PRIMARY KEY,
    priority        smallint NOT NULL,
    app_id          text     COLLATE "C" NOT NULL,
    user_login_name text     COLLATE "C" NOT NULL,
    next_turn       bigint   NOT NULL,
    since           bigint   NOT NULL,
    active          boolean  NOT NULL DEFAULT true
);
CREATE INDEX run_queue_shares_in_turn ON run_queue_shares (priority, next_turn, since) WHERE active;

-- The highest turn of each priority that was claimed: who comes into the queue begins there.
CREATE TABLE run_queue_rounds (
    priority smallint NOT NULL PRIMARY KEY,
    turn     bigint   NOT NULL DEFAULT 0
);
INSERT INTO run_queue_rounds (priority) VALUES (0), (1), (2);

-- What is queued now gets its share by its run.queued, from the beginning of the payload: as JSON, Postgres refuses what a
-- message may hold.
UPDATE run_queue
SET app_id = queued.app_id, user_login_name = queued.user_login_name,
    share = concat_ws(' ', 'default', 'normal', queued.app_id, queued.project_name, queued.user_login_name)
FROM (
    SELECT run_id, coalesce(ids[1], 'default') AS app_id, coalesce(ids[2], 'default') AS project_name,
           ids[3] AS user_login_name
    FROM (
        SELECT run_id, regexp_match(
            convert_from(payload, 'UTF8'),
            '^{"spec":{"sessionId":"[^"]*"(?:,"appId":"([^"]*)")?(?:,"projectName":"([^"]*)")?,"userLoginName":"([^"]*)"'
        ) AS ids
        FROM run_queue JOIN events ON tenant = 'default' AND stream = 'run:' || run_id AND seq = 1
        WHERE state <> 'done' AND type = 'run.queued'
    ) AS begun
    WHERE ids IS NOT NULL
) AS queued
WHERE run_queue.run_id = queued.run_id;

UPDATE run_queue SET in_line = true
WHERE state = 'ready' AND available_at <= clock_timestamp()
  AND NOT EXISTS (
      SELECT FROM run_queue AS earlier
      WHERE earlier.session_id = run_queue.session_id AND earlier.state <> 'done' AND earlier.position < run_queue.position);
INSERT INTO run_queue_shares (share, priority, app_id, user_login_name, next_turn, since)
SELECT share, 1, min(app_id), min(user_login_name), 0, min(position) FROM run_queue WHERE in_line GROUP BY share;

CREATE INDEX run_queue_in_line ON run_queue (share, position) WHERE state = 'ready' AND in_line;
-- Claims no longer go through all of it; those of the version before sort what they need.
DROP INDEX run_queue_in_order;
