-- A person has decided that an effect that was given up is never tried again.
UPDATE effects SET state = 'dropped', finished_at = clock_timestamp()
WHERE effect_id = %(effect_id)s AND state = 'dead'
