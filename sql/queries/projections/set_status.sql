-- Say why a version does not go on, or that it goes on again.
UPDATE projection_versions
SET status = %(status)s, error_position = %(error_position)s, error_type = %(error_type)s, error = %(error)s,
    updated_at = clock_timestamp()
WHERE projection = %(projection)s AND version = %(version)s
