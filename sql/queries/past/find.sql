-- Finds a past read model and marks it as used.
UPDATE past.versions SET used_at = clock_timestamp()
WHERE projection = %(projection)s AND fold_version = %(fold_version)s AND position = %(position)s
RETURNING version
