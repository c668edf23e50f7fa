-- Deletes commands that were answered.
DELETE FROM pending_commands WHERE command_id = ANY(%(command_ids)s::text[])
