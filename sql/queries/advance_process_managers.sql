-- Moves the checkpoints of process managers, and notifies those who wait for them.
WITH moved AS (
    UPDATE process_manager_checkpoint SET position = reached.position
    FROM unnest(%(names)s::text[], %(positions)s::bigint[]) AS reached (name, position)
    WHERE process_manager_checkpoint.name = reached.name
    RETURNING reached.position
)
SELECT pg_notify('fleetlog_projection', max(position)::text) FROM moved
