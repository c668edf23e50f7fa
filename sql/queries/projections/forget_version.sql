-- Deletes a retired version whose rows are deleted.
DELETE FROM projection_versions WHERE projection = %(projection)s AND version = %(version)s AND state = 'retired'
