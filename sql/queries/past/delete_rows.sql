-- Deletes the rows of forgotten versions. {table}: a table of past.
DELETE FROM {table} WHERE version = ANY (%(versions)s)
