-- What users' own projections are doing: `fleetlog project` writes the row of its projection, at most once a second. It is
-- shown and nothing more: the checkpoint of such a projection is in the user's view, its stops are in the log.
CREATE TABLE user_projections (
    tenant         text        COLLATE "C" NOT NULL DEFAULT 'default',
    name           text        COLLATE "C" NOT NULL,
    class          text        NOT NULL,
    view_class     text        NOT NULL,
    topics         text[]      NOT NULL,
    status         text        NOT NULL CHECK (status IN ('running', 'restarting', 'stopped', 'waiting', 'not running')),
    position       bigint      NOT NULL DEFAULT 0,
    holder         text        NOT NULL,
    restarts       integer     NOT NULL DEFAULT 0,
    error_position bigint,
    error_type     text,
    error          text,
    heartbeat_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (tenant, name)
);

COMMENT ON TABLE user_projections IS 'The status of users'' own projections, written by `fleetlog project`.';
COMMENT ON COLUMN user_projections.class IS 'MODULE:CLASS, as given to `fleetlog project`.';
COMMENT ON COLUMN user_projections.topics IS 'The wire names that it processes; empty for all.';
COMMENT ON COLUMN user_projections.position IS 'Of the last event that its view has tracked, as far as its process has said.';
COMMENT ON COLUMN user_projections.restarts IS 'How often its process was started again since `fleetlog project` took it over.';
COMMENT ON COLUMN user_projections.error IS 'What stops it, or ended its process last.';
