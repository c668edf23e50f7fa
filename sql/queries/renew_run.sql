-- Renew the lease of a run; no row when somebody else holds it or it has ended.
UPDATE run_queue SET lease_expires_at = clock_timestamp() + %(lease)s
WHERE run_id = %(run_id)s AND state = 'leased' AND lease_generation = %(generation)s
RETURNING run_id
