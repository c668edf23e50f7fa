-- A person wants one more try of an effect that was given up.
UPDATE effects SET state = 'ready', available_at = clock_timestamp(), finished_at = NULL
WHERE effect_id = %(effect_id)s AND state = 'dead'
