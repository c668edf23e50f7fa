-- The log. One row per event, never updated; the only truth of the system.
--
-- position is dense and its only key, so that the table can be partitioned by position later. That a seq is taken once
-- and an event id once within its stream is the work of append_events(), the log's only writer, under its lock.
--
-- chain_hash = sha256(record_send(ROW(previous, position, tenant, stream, seq, type, schema_version, event_id,
--                                     occurred_at, recorded_at, metadata, payload_hash)))
-- where previous is the chain_hash of the event before it in its stream, empty (not null) for the first. record_send is
-- Postgres's binary row format: the number of fields as int32, then for each field its type's oid as int32, its length in
-- bytes as int32, and its bytes. All numbers are big-endian. The fields, oids and bytes:
--   previous        17    the 32 raw bytes, or none
--   position        20    int64
--   tenant          25    UTF-8
--   stream          25    UTF-8
--   seq             20    int64
--   type            25    UTF-8
--   schema_version  23    int32
--   event_id        25    UTF-8
--   occurred_at     1184  int64, microseconds since 2000-01-01T00:00:00Z
--   recorded_at     1184  the same
--   metadata        25    UTF-8, exactly as stored
--   payload_hash    17    the 32 raw bytes of sha256(payload)
-- An erased payload leaves its hash behind, so the chain of its stream can still be verified.
CREATE TABLE events (
    position       bigint      NOT NULL PRIMARY KEY,
    seq            bigint      NOT NULL,
    occurred_at    timestamptz NOT NULL,
    recorded_at    timestamptz NOT NULL,
    schema_version integer     NOT NULL,
    tenant         text        COLLATE "C" NOT NULL,
    stream         text        COLLATE "C" NOT NULL,
    type           text        COLLATE "C" NOT NULL,
    event_id       text        COLLATE "C" NOT NULL,
    metadata       text        COLLATE "C" NOT NULL,
    payload_hash   bytea       NOT NULL,
    chain_hash     bytea       NOT NULL,
    payload        bytea       NOT NULL
);

COMMENT ON TABLE events IS 'The event log; events_readable shows payload and metadata as jsonb.';
COMMENT ON COLUMN events.position IS 'Place in the global log: dense, in commit order, from 1.';
COMMENT ON COLUMN events.seq IS 'Place in the stream: dense, from 1.';
COMMENT ON COLUMN events.type IS 'The wire name of the event, such as run.started.';
COMMENT ON COLUMN events.recorded_at IS 'The database''s clock; never decreases with the position.';
COMMENT ON COLUMN events.metadata IS 'JSON: actor, correlationId, causationId, traceId.';
COMMENT ON COLUMN events.payload IS 'The event''s own fields, a UTF-8 JSON object.';

CREATE INDEX events_by_stream ON events (tenant, stream, seq);
CREATE INDEX events_by_event_id ON events (event_id, stream);
CREATE INDEX events_by_type ON events (type, position);

-- The end of each stream: what an append compares its expected seq with, and the hash that the next event chains to.
-- It is derived from events and written in the same transaction.
CREATE TABLE streams (
    tenant        text   COLLATE "C" NOT NULL,
    stream        text   COLLATE "C" NOT NULL,
    last_seq      bigint NOT NULL,
    last_position bigint NOT NULL,
    chain_hash    bytea  NOT NULL,
    PRIMARY KEY (tenant, stream)
) WITH (fillfactor = 60);

COMMENT ON TABLE streams IS 'The head of each stream: its last seq, that event''s position and chain hash.';
