-- Effects in the given states (in all if none is given), newest first. A page may exceed the limit, because it ends with all
-- effects of its last event.
SELECT md5(effect_id) AS id, effect_id, kind, lane, params, state, attempts, caused_by, last_error, available_at,
       lease_owner, created_at, finished_at
FROM effects
WHERE caused_by < %(before)s
  AND (cardinality(%(states)s::text[]) = 0 OR state = ANY(%(states)s::text[]))
  AND (%(kind)s = '' OR kind = %(kind)s)
ORDER BY caused_by DESC
FETCH FIRST %(limit)s ROWS WITH TIES
