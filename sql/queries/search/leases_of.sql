-- The leases under which a run was executed, each with the position of its first event.
SELECT i.causation_id, min(i.position)
FROM event_index i
WHERE i.causation_id >= %(prefix)s AND i.causation_id < %(beyond)s AND i.tenant = %(tenant)s
GROUP BY i.causation_id
ORDER BY 2
LIMIT %(limit)s
