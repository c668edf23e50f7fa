-- The comments of tables and columns whose code has other names now. Nothing else changes.
COMMENT ON COLUMN event_index.words IS 'The search terms of the payload, in lower case (projections/search_terms.py).';
COMMENT ON TABLE worker_places IS 'Worker slots of MAX_WORKERS and MAX_STARTING, over all processes: one row for each '
    'session that has one or waits for one. Operational, not a read model.';
COMMENT ON COLUMN worker_places.lane IS 'The stream of the session.';
COMMENT ON COLUMN effects.lane IS 'The effect key: effects of one key are performed one at a time.';
