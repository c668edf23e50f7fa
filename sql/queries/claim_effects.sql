-- See functions/claim_effects.sql.
SELECT * FROM claim_effects(
    %(owner)s, %(limit)s, %(lease)s, %(first_kinds)s::text[], %(max_workers)s, %(max_starting)s)
