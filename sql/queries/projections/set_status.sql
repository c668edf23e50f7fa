-- Sets the status of a version, with the event that stops it or null.
UPDATE projection_versions
SET status = %(status)s, error_position = %(error_position)s, error_type = %(error_type)s, error = %(error)s,
    updated_at = clock_timestamp()
WHERE projection = %(projection)s AND version = %(version)s
