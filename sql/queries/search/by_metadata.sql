-- Positions of events that the event index does not hold yet, in order.
SELECT position FROM events
WHERE position > %(after)s AND position <= %(up_to)s AND tenant = %(tenant)s
  AND (%(actor)s = '' OR jsonb_or_null(metadata) ->> 'actor' = %(actor)s)
  AND (%(correlation_id)s = '' OR jsonb_or_null(metadata) ->> 'correlationId' = %(correlation_id)s)
  AND (%(stream)s = '' OR stream = %(stream)s)
  AND (cardinality(%(types)s::text[]) = 0 OR type = ANY (%(types)s::text[]))
ORDER BY position
LIMIT %(limit)s
