-- A worker is down: its place is free.
DELETE FROM worker_places WHERE lane = %(lane)s
