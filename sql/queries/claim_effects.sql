-- See functions/claim_effects_2.sql.
SELECT claimed.*, (SELECT created_at FROM effects WHERE effects.effect_id = claimed.effect_id) AS wanted_at
FROM claim_effects_2(
    %(owner)s, %(short_slots)s, %(long_slots)s, %(stop_slots)s, %(lease)s, %(first_kinds)s::text[], %(long_kinds)s::text[],
    %(before_stop)s, %(max_workers)s, %(max_starting)s) AS claimed
