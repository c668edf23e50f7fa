-- How much the runs of each session have recorded in an hour, over all processes: for the quotas per session and hour.
-- An operational table: it is counted up about once a second, and rows of past hours are deleted.
CREATE TABLE session_traffic (
    hour       timestamptz NOT NULL,
    tenant     text        COLLATE "C" NOT NULL DEFAULT 'default',
    session_id text        COLLATE "C" NOT NULL,
    events     bigint      NOT NULL,
    bytes      bigint      NOT NULL,
    PRIMARY KEY (hour, tenant, session_id)
);

COMMENT ON TABLE session_traffic IS 'How much the runs of a session have recorded in an hour, about a second behind.';
COMMENT ON COLUMN session_traffic.bytes IS 'Of the events'' payloads.';
