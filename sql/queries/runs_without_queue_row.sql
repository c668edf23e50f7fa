-- Runs that have not ended according to their read model and have no row in the queue, although the process manager has
-- processed their first event. The caller checks each one in the log. External runs (without a provider) enter the queue only
-- when their agent has ended.
SELECT r.key
FROM projection_versions v
JOIN read_models.runs r ON r.version = v.version
WHERE v.projection = 'runs' AND v.state = 'active' AND r.tenant = 'default'
  AND r.state NOT IN ('succeeded', 'failed', 'canceled') AND r.state <> 'blocked' AND (r.provider <> '' OR r.body #>> '{run,stage,type}' = 'Finishing')
  AND r.created_position <= (SELECT position FROM process_manager_checkpoint WHERE name = 'run_life')
  AND NOT EXISTS (SELECT FROM run_queue q WHERE q.run_id = r.key)
ORDER BY r.created_position
LIMIT %(limit)s
