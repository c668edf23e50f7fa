-- Frees the slot of a session whose worker is down.
DELETE FROM worker_places WHERE lane = %(key)s
