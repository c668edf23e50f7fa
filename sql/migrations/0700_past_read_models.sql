-- Read models as they were as of a position: made again out of the log when somebody asks, kept while they are asked for. A
-- cache that may be emptied at any time; unlogged, so that a crash of Postgres empties it by itself.
--
-- The tables are those of read_models (a test holds them equal), so the same queries read both.
CREATE SCHEMA past;

COMMENT ON SCHEMA past IS 'Read models as of a position; a cache that may be emptied at any time.';

CREATE UNLOGGED TABLE past.versions (
    version      integer     GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    projection   text        COLLATE "C" NOT NULL,
    fold_version integer     NOT NULL,
    position     bigint      NOT NULL,
    used_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    UNIQUE (projection, fold_version, position)
);

COMMENT ON TABLE past.versions IS 'Which read models are here, each as of which position of the log.';

CREATE UNLOGGED TABLE past.session_workers (LIKE read_models.session_workers INCLUDING ALL);
CREATE UNLOGGED TABLE past.runs            (LIKE read_models.runs INCLUDING ALL);
CREATE UNLOGGED TABLE past.todos           (LIKE read_models.todos INCLUDING ALL);
CREATE UNLOGGED TABLE past.human_loop      (LIKE read_models.human_loop INCLUDING ALL);
CREATE UNLOGGED TABLE past.usage           (LIKE read_models.usage INCLUDING ALL);
CREATE UNLOGGED TABLE past.sync_history    (LIKE read_models.sync_history INCLUDING ALL);
