-- Rows of read models as they were within long streams, so that the state at any seq need not be folded from the stream's first
-- event. Written by the projector as it passes. A cache: it may be emptied at any time.
--
-- seq: the row holds all events of the stream up to it. Only for read models with one row for each stream.
CREATE TABLE row_snapshots (
    projection   text    COLLATE "C" NOT NULL,
    fold_version integer NOT NULL,
    tenant       text    COLLATE "C" NOT NULL,
    stream       text    COLLATE "C" NOT NULL,
    seq          bigint  NOT NULL,
    body         json    NOT NULL,
    PRIMARY KEY (projection, fold_version, tenant, stream, seq)
);

COMMENT ON TABLE row_snapshots IS 'Rows of read models within long streams, for time travel; a cache that may be emptied.';
