-- A page of questions, newest first, each with the row of its run, and the number of all matches.
SELECT v.position, total.matching, q.position, q.body::text, run.body::text
FROM projection_versions v
CROSS JOIN LATERAL (
    SELECT count(*) AS matching FROM read_models.human_loop
    WHERE version = v.version AND tenant = %(tenant)s AND status IS NOT NULL
      AND (%(run_id)s::text IS NULL OR run_id = %(run_id)s)
      AND (%(statuses)s::text[] IS NULL OR status = ANY (%(statuses)s))
) total
LEFT JOIN LATERAL (
    SELECT * FROM read_models.human_loop
    WHERE version = v.version AND tenant = %(tenant)s AND status IS NOT NULL AND position < %(before)s
      AND (%(run_id)s::text IS NULL OR run_id = %(run_id)s)
      AND (%(statuses)s::text[] IS NULL OR status = ANY (%(statuses)s))
    ORDER BY position DESC
    LIMIT %(limit)s
) q ON true
LEFT JOIN read_models.human_loop run ON run.version = v.version AND run.tenant = %(tenant)s AND run.key = q.run_id
WHERE v.projection = 'human_loop' AND v.state = 'active'
ORDER BY q.position DESC
