-- Process managers have reacted to everything up to here; who waits for that is told.
WITH moved AS (
    UPDATE process_manager_checkpoint SET position = reached.position
    FROM unnest(%(names)s::text[], %(positions)s::bigint[]) AS reached (name, position)
    WHERE process_manager_checkpoint.name = reached.name
    RETURNING reached.position
)
SELECT pg_notify('fleetlog_projection', max(position)::text) FROM moved
