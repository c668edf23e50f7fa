-- The processes that work (process managers, effects, runs), and what each of them finds down. Operational: each writes its
-- row anew every few seconds, and one that has ended or died is told by the age of its row.
CREATE TABLE worker_processes (
    owner    text        COLLATE "C" PRIMARY KEY,
    seen_at  timestamptz NOT NULL,
    down     jsonb       NOT NULL
);

COMMENT ON TABLE worker_processes IS 'Processes that work, when each was last seen, and what it finds down (name → why).';
