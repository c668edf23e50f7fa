-- The last position of a tenant other than the product's, by their own index; no row if it has no events.
SELECT position
FROM events
WHERE tenant = %(tenant)s AND tenant <> 'default'
ORDER BY position DESC
LIMIT 1
