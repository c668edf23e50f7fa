-- The names of those that have run on this database.
SELECT name FROM user_projections WHERE tenant = %(tenant)s ORDER BY name LIMIT %(limit)s
