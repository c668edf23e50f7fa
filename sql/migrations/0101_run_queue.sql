-- The run queue. An operational table: what matters of it (claims, retries, ends) is in the log too.
-- position: that of the event that queued the run; a session's runs go one at a time, in this order.
-- state: ready (to be claimed when available_at has come), leased, done.
CREATE TABLE run_queue (
    run_id           text        COLLATE "C" NOT NULL PRIMARY KEY,
    session_id       text        COLLATE "C" NOT NULL,
    position         bigint      NOT NULL,
    state            text        NOT NULL DEFAULT 'ready' CHECK (state IN ('ready', 'leased', 'done')),
    attempts         integer     NOT NULL DEFAULT 0,
    max_attempts     integer     NOT NULL,
    available_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    lease_owner      text,
    lease_generation bigint      NOT NULL DEFAULT 0,
    lease_expires_at timestamptz
);

CREATE INDEX run_queue_to_do ON run_queue (session_id, position) WHERE state <> 'done';
