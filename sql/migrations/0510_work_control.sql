-- The switch of the run queue: while it is paused nothing is claimed; what runs goes on. One row. It follows the log
-- (queue.paused, queue.resumed) with the process managers' checkpoint.
CREATE TABLE run_queue_control (
    only_row boolean NOT NULL PRIMARY KEY DEFAULT true CHECK (only_row),
    paused   boolean NOT NULL DEFAULT false
);
INSERT INTO run_queue_control DEFAULT VALUES;

-- Claims go through the queue in the order of the log and stop when they have enough.
CREATE INDEX run_queue_in_order ON run_queue (position) WHERE state <> 'done';

-- A person may drop an effect that was given up. `dropped`: nobody performs it any more.
ALTER TABLE effects DROP CONSTRAINT effects_state_check;
ALTER TABLE effects ADD CONSTRAINT effects_state_check
    CHECK (state IN ('ready', 'leased', 'done', 'obsolete', 'dead', 'dropped'));
-- Effects are addressed by the md5 of their id, which has slashes in it.
CREATE UNIQUE INDEX effects_by_key ON effects (md5(effect_id));
