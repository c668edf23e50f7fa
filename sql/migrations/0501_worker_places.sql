-- The places of MAX_WORKERS and MAX_STARTING, over all processes: one row for each session that has one or waits for
-- one. An operational table, moved with the process managers' checkpoint (want, up, gone) and by claims (starting).
-- stage: waiting (in the order of wanted_at, the position of the event that asked), starting (from the claim of its
-- first effect until it is activated or has failed), up (until its container is stopped, removed or lost).
CREATE TABLE worker_places (
    lane      text   COLLATE "C" NOT NULL PRIMARY KEY,
    wanted_at bigint NOT NULL,
    stage     text   NOT NULL DEFAULT 'waiting' CHECK (stage IN ('waiting', 'starting', 'up'))
);
