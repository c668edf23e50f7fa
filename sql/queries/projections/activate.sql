-- See functions/activate_projection.sql.
SELECT activate_projection(%(projection)s, %(version)s)
