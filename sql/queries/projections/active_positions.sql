-- How far everything that API reads wait for has got: the read models that readers see, the event index, and the process
-- managers with what they made wanted. The names are those of projections/ports.py.
SELECT projection, position FROM projection_versions WHERE state = 'active'
UNION ALL
SELECT 'event-index', position FROM event_index_checkpoint
UNION ALL
SELECT 'work', min(position) FROM process_manager_checkpoint HAVING min(position) IS NOT NULL
