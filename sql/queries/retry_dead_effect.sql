-- Makes a dead letter ready for one more attempt.
UPDATE effects SET state = 'ready', available_at = clock_timestamp(), finished_at = NULL
WHERE effect_id = %(effect_id)s AND state = 'dead'
