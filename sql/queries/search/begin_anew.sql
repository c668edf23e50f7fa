-- Starts the event index over, because the version of the terms has changed.
UPDATE event_index_checkpoint SET position = 0, version = %(version)s WHERE version < %(version)s RETURNING position
