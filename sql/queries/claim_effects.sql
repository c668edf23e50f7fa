-- Claim due effects in one round trip.
SELECT * FROM claim_effects(%(owner)s, %(limit)s, %(lease)s, %(starting_kinds)s::text[], %(max_starting)s)
