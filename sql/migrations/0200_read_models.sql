-- Read models: rows that projections fold out of the log, and how far each of them has got.
--
-- All versions of a read model lie in one table. Readers join projection_versions on the active one in their own statement,
-- so that a rebuild becomes visible in one step, to every snapshot alike; a rebuild needs no DDL. Whatever is here can be
-- dropped and built again from events.

-- One row per version of a projection. `state`: building (not read yet), active (the one that readers see), retired (its
-- rows are being deleted). `status`: running; paused (the event at error_position can't be applied); waiting (the events
-- from error_position on were written by newer code). Rows and position are written in one transaction.
CREATE TABLE projection_versions (
    projection     text        COLLATE "C" NOT NULL,
    version        integer     NOT NULL,
    fold_version   integer     NOT NULL,
    state          text        COLLATE "C" NOT NULL CHECK (state IN ('building', 'active', 'retired')),
    status         text        COLLATE "C" NOT NULL DEFAULT 'running' CHECK (status IN ('running', 'paused', 'waiting')),
    position       bigint      NOT NULL DEFAULT 0,
    error_position bigint,
    error_type     text,
    error          text,
    holder         text,
    created_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (projection, version)
) WITH (fillfactor = 30);

CREATE UNIQUE INDEX projection_versions_active ON projection_versions (projection) WHERE state = 'active';
CREATE UNIQUE INDEX projection_versions_building ON projection_versions (projection) WHERE state = 'building';

COMMENT ON TABLE projection_versions IS 'How far each version of each read model has got: its rows hold all events up to position.';

CREATE SCHEMA read_models;

COMMENT ON SCHEMA read_models IS 'Rows folded out of the log; WHERE version = the active one of projection_versions.';

-- Every table begins with version, tenant, key and body (the row as JSON); the other columns repeat parts of it for filters
-- and order, in the order in which the projection gives them.
CREATE TABLE read_models.session_workers (
    version          integer     NOT NULL,
    tenant           text        COLLATE "C" NOT NULL,
    key              text        COLLATE "C" NOT NULL,
    body             json        NOT NULL,
    created_position bigint      NOT NULL,
    state            text        COLLATE "C" NOT NULL,
    app_id           text        COLLATE "C" NOT NULL,
    project_name     text        COLLATE "C" NOT NULL,
    user_login_name  text        COLLATE "C" NOT NULL,
    last_sync_status text        COLLATE "C" NOT NULL,
    idle_since       timestamptz,
    stopped_since    timestamptz,
    unsynced_since   timestamptz,
    PRIMARY KEY (version, tenant, key)
) WITH (fillfactor = 70);

CREATE INDEX session_workers_newest ON read_models.session_workers (version, tenant, created_position);
CREATE INDEX session_workers_idle ON read_models.session_workers (version, idle_since) WHERE idle_since IS NOT NULL;
CREATE INDEX session_workers_stopped ON read_models.session_workers (version, stopped_since) WHERE stopped_since IS NOT NULL;
CREATE INDEX session_workers_unsynced ON read_models.session_workers (version, unsynced_since) WHERE unsynced_since IS NOT NULL;

CREATE TABLE read_models.runs (
    version          integer NOT NULL,
    tenant           text    COLLATE "C" NOT NULL,
    key              text    COLLATE "C" NOT NULL,
    body             json    NOT NULL,
    created_position bigint  NOT NULL,
    state            text    COLLATE "C" NOT NULL,
    session_id       text    COLLATE "C" NOT NULL,
    provider         text    COLLATE "C" NOT NULL,
    app_id           text    COLLATE "C" NOT NULL,
    user_login_name  text    COLLATE "C" NOT NULL,
    open_questions   integer NOT NULL,
    PRIMARY KEY (version, tenant, key)
) WITH (fillfactor = 70);

CREATE INDEX runs_newest ON read_models.runs (version, tenant, created_position);
CREATE INDEX runs_of_session ON read_models.runs (version, tenant, session_id, created_position);
CREATE INDEX runs_unfinished ON read_models.runs (version, tenant, state, created_position)
    WHERE state NOT IN ('succeeded', 'failed', 'canceled');

CREATE TABLE read_models.todos (
    version integer NOT NULL,
    tenant  text    COLLATE "C" NOT NULL,
    key     text    COLLATE "C" NOT NULL,
    body    json    NOT NULL,
    PRIMARY KEY (version, tenant, key)
) WITH (fillfactor = 70);

-- Questions, and a row without status for each run that could ask one.
CREATE TABLE read_models.human_loop (
    version  integer NOT NULL,
    tenant   text    COLLATE "C" NOT NULL,
    key      text    COLLATE "C" NOT NULL,
    body     json    NOT NULL,
    run_id   text    COLLATE "C" NOT NULL,
    status   text    COLLATE "C",
    position bigint  NOT NULL,
    PRIMARY KEY (version, tenant, key)
) WITH (fillfactor = 70);

CREATE INDEX human_loop_requests ON read_models.human_loop (version, tenant, status, position) WHERE status IS NOT NULL;
CREATE INDEX human_loop_of_run ON read_models.human_loop (version, tenant, run_id, position) WHERE status IS NOT NULL;

-- One row per run; day is null until the run's usage is settled.
CREATE TABLE read_models.usage (
    version             integer NOT NULL,
    tenant              text    COLLATE "C" NOT NULL,
    key                 text    COLLATE "C" NOT NULL,
    body                json    NOT NULL,
    session_id          text    COLLATE "C" NOT NULL,
    app_id              text    COLLATE "C" NOT NULL,
    project_name        text    COLLATE "C" NOT NULL,
    user_login_name     text    COLLATE "C" NOT NULL,
    provider            text    COLLATE "C" NOT NULL,
    model               text    COLLATE "C" NOT NULL,
    day                 date,
    input_tokens        bigint  NOT NULL,
    output_tokens       bigint  NOT NULL,
    cached_input_tokens bigint,
    cost_usd            numeric,
    PRIMARY KEY (version, tenant, key)
) WITH (fillfactor = 70);

CREATE INDEX usage_by_day ON read_models.usage (version, tenant, day) WHERE day IS NOT NULL;

CREATE TABLE read_models.sync_history (
    version    integer NOT NULL,
    tenant     text    COLLATE "C" NOT NULL,
    key        text    COLLATE "C" NOT NULL,
    body       json    NOT NULL,
    session_id text    COLLATE "C" NOT NULL,
    position   bigint  NOT NULL,
    PRIMARY KEY (version, tenant, key)
);

CREATE INDEX sync_history_of_session ON read_models.sync_history (version, tenant, session_id, position);

-- The history of todo lists is read off the log itself.
CREATE INDEX events_of_todos ON events (tenant, stream, seq) WHERE type IN ('todo.update', 'todo.snapshot');
