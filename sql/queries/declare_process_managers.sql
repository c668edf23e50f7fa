-- Inserts the process managers that are new, at position 0; returns the position and status of each.
WITH declared AS (
    INSERT INTO process_manager_checkpoint (name, position) SELECT name, 0 FROM unnest(%(names)s::text[]) AS known (name)
    ON CONFLICT (name) DO NOTHING
)
SELECT known.name, coalesce(checkpoint.position, 0), coalesce(checkpoint.status, 'running')
FROM unnest(%(names)s::text[]) AS known (name)
LEFT JOIN process_manager_checkpoint AS checkpoint USING (name)
