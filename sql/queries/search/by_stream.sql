-- Positions of a stream's events, optionally of some types only, in order.
SELECT position FROM events
WHERE tenant = %(tenant)s AND stream = %(stream)s AND position > %(after)s AND position <= %(up_to)s
  AND (cardinality(%(types)s::text[]) = 0 OR type = ANY (%(types)s::text[]))
ORDER BY seq
LIMIT %(limit)s
