-- The index of the log for searches: who, why, and which words. A projection of its own, made behind the log, so that an append
-- pays for none of it. It can be emptied (with its checkpoint) at any time and is made again.
CREATE TABLE event_index (
    position       bigint   NOT NULL PRIMARY KEY,
    tenant         text     COLLATE "C" NOT NULL,
    actor          text     COLLATE "C" NOT NULL,
    correlation_id text     COLLATE "C" NOT NULL,
    causation_id   text     COLLATE "C" NOT NULL,
    words          tsvector NOT NULL
);

COMMENT ON TABLE event_index IS 'Who caused each event, what caused it, and the words of its texts; follows the log.';
COMMENT ON COLUMN event_index.words IS 'Words of the payload''s texts, in lower case (projections/event_words.py).';

CREATE INDEX event_index_by_actor ON event_index (actor, position);
CREATE INDEX event_index_by_correlation ON event_index (correlation_id, position);
CREATE INDEX event_index_by_cause ON event_index (causation_id, position);
CREATE INDEX event_index_by_word ON event_index USING gin (words) WITH (gin_pending_list_limit = 1024);

CREATE TABLE event_index_checkpoint (
    only_row boolean NOT NULL PRIMARY KEY DEFAULT true CHECK (only_row),
    version  integer NOT NULL DEFAULT 1,
    position bigint  NOT NULL DEFAULT 0
);
INSERT INTO event_index_checkpoint DEFAULT VALUES;

COMMENT ON TABLE event_index_checkpoint IS 'How far event_index has got; version is that of the code which chose the words.';
