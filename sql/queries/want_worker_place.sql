-- A session waits for a place from now on.
INSERT INTO worker_places (lane, wanted_at) VALUES (%(lane)s, %(position)s)
ON CONFLICT (lane) DO UPDATE SET wanted_at = excluded.wanted_at, stage = 'waiting'
