-- One effect, by the md5 of its id.
SELECT md5(effect_id) AS id, effect_id, kind, lane, params, state, attempts, caused_by, last_error, available_at,
       lease_owner, created_at, finished_at
FROM effects WHERE md5(effect_id) = %(key)s
