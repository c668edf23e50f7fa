-- Claim due runs in one round trip.
SELECT claimed_run, claimed_generation FROM claim_runs(%(owner)s, %(limit)s, %(lease)s, %(max_running)s)
