-- What the `eventsourcing` library keeps beside its events: snapshots of aggregates, and how far each process has got.

-- One row per snapshot. topic and state are the library mapper's; seq is the aggregate version that was captured.
CREATE TABLE snapshots (
    tenant   text        COLLATE "C" NOT NULL,
    stream   text        COLLATE "C" NOT NULL,
    seq      bigint      NOT NULL,
    topic    text        NOT NULL,
    state    bytea       NOT NULL,
    taken_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (tenant, stream, seq)
);

-- The last position of application_name's events that a process has handled, written with the events it led to.
CREATE TABLE process_tracking (
    tenant           text   COLLATE "C" NOT NULL,
    application_name text   COLLATE "C" NOT NULL,
    position         bigint NOT NULL,
    PRIMARY KEY (tenant, application_name)
) WITH (fillfactor = 60);
