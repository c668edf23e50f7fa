-- Lets a session wait for a slot from now on.
INSERT INTO worker_places (lane, wanted_at) VALUES (%(key)s, %(position)s)
ON CONFLICT (lane) DO UPDATE SET wanted_at = excluded.wanted_at, stage = 'waiting'
