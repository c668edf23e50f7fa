-- The last position of the product's events; no row if it has none. `tenant || ''` excludes indexes by tenant: it is found
-- near the end of the log.
SELECT position
FROM events
WHERE tenant || '' = %(tenant)s
ORDER BY position DESC
LIMIT 1
