-- How far the observer of the log has got: what it has seen is counted, and its spans are with the collector. The first
-- observer begins at the end that the log has then.
CREATE TABLE observed_log (
    only_row boolean NOT NULL PRIMARY KEY DEFAULT true CHECK (only_row),
    position bigint  NOT NULL
);

COMMENT ON TABLE observed_log IS 'How far metrics and traces have followed the log.';
