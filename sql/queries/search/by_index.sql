-- Positions by the event index, in order. The conditions replace the marker.
SELECT i.position
FROM event_index i /* joined */
WHERE i.position > %(after)s AND i.position <= %(up_to)s AND i.tenant = %(tenant)s AND /* wanted */
ORDER BY i.position
LIMIT %(limit)s
