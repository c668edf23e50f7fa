-- Folds of long streams, so that a command need not read one from its start. A cache: TRUNCATE it at any time.
--
-- One row per stream, its newest snapshot. chain_hash is that of the stream's event at seq: a row whose hash the log does
-- not have at that place is not of this log. fingerprint names the code that folded; digest is
-- sha256(fingerprint, position, seq, stream, state), the numbers as int64, big-endian.
CREATE TABLE aggregate_snapshots (
    tenant      text        COLLATE "C" NOT NULL,
    stream      text        COLLATE "C" NOT NULL,
    seq         bigint      NOT NULL,
    position    bigint      NOT NULL,
    chain_hash  bytea       NOT NULL,
    fingerprint bytea       NOT NULL,
    digest      bytea       NOT NULL,
    state       bytea       NOT NULL,
    written_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (tenant, stream)
) WITH (fillfactor = 60);

COMMENT ON TABLE aggregate_snapshots IS 'The newest fold of each long stream; a cache that may be emptied at any time.';
COMMENT ON COLUMN aggregate_snapshots.state IS 'The state after the event at seq, as JSON.';
