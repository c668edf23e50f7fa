-- Move the index's checkpoint from where this process left it; no row when somebody else has moved it.
UPDATE event_index_checkpoint SET position = %(after)s WHERE position = %(before)s RETURNING position
