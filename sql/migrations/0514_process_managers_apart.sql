-- Each process manager has a checkpoint of its own, so that an event that one can't take stops that one alone.
-- status: running, stopped (by the event at error_position, until a person says retry or skip), waiting (newer code wrote
-- that event: a deploy is under way).
ALTER TABLE process_manager_checkpoint
    ADD COLUMN status text NOT NULL DEFAULT 'running' CHECK (status IN ('running', 'stopped', 'waiting')),
    ADD COLUMN error_position bigint,
    ADD COLUMN error_type text,
    ADD COLUMN error text;

INSERT INTO process_manager_checkpoint (name, position)
SELECT apart.name, position
FROM process_manager_checkpoint, unnest(ARRAY['session_life', 'run_life', 'work_control']) AS apart (name)
WHERE process_manager_checkpoint.name = 'process_managers';

DELETE FROM process_manager_checkpoint WHERE name = 'process_managers';
