-- Drops a dead letter: it is never tried again.
UPDATE effects SET state = 'dropped', finished_at = clock_timestamp()
WHERE effect_id = %(effect_id)s AND state = 'dead'
