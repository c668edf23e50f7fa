-- The effect ledger: what process managers wanted of the outside world, and what became of it. An operational table:
-- no rebuild of read models touches it.

-- How far the process managers have read the log; moved in the transaction that records what they want.
CREATE TABLE process_manager_checkpoint (
    name     text   NOT NULL PRIMARY KEY,
    position bigint NOT NULL
);

-- state: ready (to be claimed when available_at has come), leased, done, obsolete (nothing wanted it any more when its
-- turn came), dead (given up; a person decides).
CREATE TABLE effects (
    effect_id        text        COLLATE "C" NOT NULL PRIMARY KEY,
    kind             text        NOT NULL,
    lane             text        COLLATE "C" NOT NULL,
    params           jsonb       NOT NULL,
    caused_by        bigint      NOT NULL,
    metadata         jsonb       NOT NULL,
    state            text        NOT NULL DEFAULT 'ready'
                     CHECK (state IN ('ready', 'leased', 'done', 'obsolete', 'dead')),
    attempts         integer     NOT NULL DEFAULT 0,
    available_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    lease_owner      text,
    lease_generation bigint      NOT NULL DEFAULT 0,
    lease_expires_at timestamptz,
    last_error       text        NOT NULL DEFAULT '',
    created_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    finished_at      timestamptz
);

CREATE INDEX effects_to_do ON effects (caused_by, effect_id) WHERE state IN ('ready', 'leased');
CREATE INDEX effects_by_lane ON effects (lane) WHERE state = 'leased';
CREATE INDEX effects_by_cause ON effects (caused_by);
CREATE INDEX effects_dead ON effects (finished_at) WHERE state = 'dead';

-- One row per try of an effect.
CREATE TABLE effect_attempts (
    effect_id   text        COLLATE "C" NOT NULL REFERENCES effects ON DELETE CASCADE,
    attempt     integer     NOT NULL,
    owner       text        NOT NULL,
    started_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    finished_at timestamptz,
    outcome     text        NOT NULL DEFAULT 'started',
    error       text        NOT NULL DEFAULT '',
    PRIMARY KEY (effect_id, attempt)
);
