-- Sets the status of a process manager, with the event that stops it or null.
UPDATE process_manager_checkpoint
SET status = %(status)s, error_position = %(error_position)s, error_type = %(error_type)s, error = %(error)s
WHERE name = %(name)s
