-- Renews the lease of a run; returns no row if another holder has it or the run has ended.
UPDATE run_queue SET lease_expires_at = clock_timestamp() + %(lease)s
WHERE run_id = %(run_id)s AND state = 'leased' AND lease_generation = %(generation)s
RETURNING run_id
