-- Moves the checkpoint of the event index from where this process left it, and notifies those who wait for it; returns no
-- row if another process has moved it.
WITH moved AS (
    UPDATE event_index_checkpoint SET position = %(after)s WHERE position = %(before)s RETURNING position
)
SELECT position, pg_notify('fleetlog_projection', position::text) FROM moved
