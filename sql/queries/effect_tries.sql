-- All attempts of an effect.
SELECT attempt, owner, started_at, finished_at, outcome, error
FROM effect_attempts WHERE effect_id = %(effect_id)s ORDER BY attempt
