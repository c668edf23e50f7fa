-- Keeps commands that their session has not answered, in the transaction that moves the checkpoint past their events.
INSERT INTO pending_commands (command_id, process_manager, session_id, position)
SELECT * FROM unnest(%(command_ids)s::text[], %(process_managers)s::text[], %(session_ids)s::text[], %(positions)s::bigint[])
ON CONFLICT (command_id) DO NOTHING
