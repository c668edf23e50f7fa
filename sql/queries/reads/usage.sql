-- Usage of ended runs, summed by the requested dimensions; the other dimensions are null.
SELECT v.position, g.*
FROM projection_versions v
LEFT JOIN LATERAL (
    SELECT CASE WHEN 'runId' = ANY (%(group_by)s) THEN key END AS run_id,
           CASE WHEN 'sessionId' = ANY (%(group_by)s) THEN session_id END AS session_id,
           CASE WHEN 'appId' = ANY (%(group_by)s) THEN app_id END AS app_id,
           CASE WHEN 'projectName' = ANY (%(group_by)s) THEN project_name END AS project_name,
           CASE WHEN 'userLoginName' = ANY (%(group_by)s) THEN user_login_name END AS user_login_name,
           CASE WHEN 'provider' = ANY (%(group_by)s) THEN provider END AS provider,
           CASE WHEN 'model' = ANY (%(group_by)s) THEN model END AS model,
           CASE WHEN 'day' = ANY (%(group_by)s) THEN to_char(day, 'YYYY-MM-DD') END AS day,
           count(*) AS runs,
           sum(input_tokens) AS input_tokens,
           sum(output_tokens) AS output_tokens,
           sum(cached_input_tokens) AS cached_input_tokens,
           sum(cost_usd) AS cost_usd
    FROM read_models.usage
    WHERE version = v.version AND tenant = %(tenant)s AND day IS NOT NULL
      AND (%(session_id)s::text IS NULL OR session_id = %(session_id)s)
      AND (%(app_id)s::text IS NULL OR app_id = %(app_id)s)
      AND (%(project_name)s::text IS NULL OR project_name = %(project_name)s)
      AND (%(user_login_name)s::text IS NULL OR user_login_name = %(user_login_name)s)
      AND (%(provider)s::text IS NULL OR provider = %(provider)s)
      AND (%(model)s::text IS NULL OR model = %(model)s)
      AND (%(from_day)s::date IS NULL OR day >= %(from_day)s::date)
      AND (%(to_day)s::date IS NULL OR day <= %(to_day)s::date)
    GROUP BY 1, 2, 3, 4, 5, 6, 7, 8
) g ON true
WHERE v.projection = 'usage' AND v.state = 'active'
ORDER BY g.run_id, g.session_id, g.app_id, g.project_name, g.user_login_name, g.provider, g.model, g.day
