-- The commands of these process managers that wait for their session, in the order of the log.
SELECT command_id, process_manager, session_id, position FROM pending_commands
WHERE process_manager = ANY(%(names)s::text[]) ORDER BY position, command_id
