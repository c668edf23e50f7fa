-- Renews the lease of an effect; returns no row if another holder has it.
UPDATE effects SET lease_expires_at = clock_timestamp() + %(lease)s
WHERE effect_id = %(effect_id)s AND state = 'leased' AND lease_generation = %(generation)s
RETURNING effect_id
