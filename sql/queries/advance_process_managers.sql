-- Process managers have reacted to everything up to here.
UPDATE process_manager_checkpoint SET position = reached.position
FROM unnest(%(names)s::text[], %(positions)s::bigint[]) AS reached (name, position)
WHERE process_manager_checkpoint.name = reached.name
