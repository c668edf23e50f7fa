-- The past read model to continue from: the last one before a position.
SELECT version, position FROM past.versions
WHERE projection = %(projection)s AND fold_version = %(fold_version)s AND position < %(position)s
ORDER BY position DESC
LIMIT 1
