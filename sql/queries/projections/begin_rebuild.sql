-- See functions/begin_rebuild.sql.
SELECT begin_rebuild(%(projection)s, %(fold_version)s)
