-- Move the index's checkpoint from where this process left it, and tell who waits for that; no row when somebody else has
-- moved it.
WITH moved AS (
    UPDATE event_index_checkpoint SET position = %(after)s WHERE position = %(before)s RETURNING position
)
SELECT position, pg_notify('fleetlog_projection', position::text) FROM moved
