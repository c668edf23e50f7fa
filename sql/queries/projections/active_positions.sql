-- The checkpoints of everything that API reads wait for: the active read models, the event index (`event-index`) and the
-- process managers (`work`). The names are those of projections/ports.py.
SELECT projection, position FROM projection_versions WHERE state = 'active'
UNION ALL
SELECT 'event-index', position FROM event_index_checkpoint
UNION ALL
SELECT 'work', min(position) FROM process_manager_checkpoint HAVING min(position) IS NOT NULL
