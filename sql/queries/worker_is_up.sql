-- Marks the slot of a session as up: its worker has started, or failed to and is about to go, so it does not count as
-- starting.
UPDATE worker_places SET stage = 'up' WHERE lane = %(key)s AND stage = 'starting'
