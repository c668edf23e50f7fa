-- Session workers that have been idle since before a time, the longest idle first, without those of sessions with open
-- questions.
SELECT w.key
FROM projection_versions v
JOIN read_models.session_workers w ON w.version = v.version AND w.tenant = %(tenant)s AND w.idle_since < %(before)s
WHERE v.projection = 'session_workers' AND v.state = 'active'
  AND NOT EXISTS (
      SELECT FROM projection_versions rv
      JOIN read_models.runs r ON r.version = rv.version AND r.tenant = w.tenant AND r.session_id = w.key
      WHERE rv.projection = 'runs' AND rv.state = 'active' AND r.open_questions > 0
  )
ORDER BY w.idle_since
LIMIT %(limit)s
