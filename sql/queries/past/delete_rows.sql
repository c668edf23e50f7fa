-- The rows of versions that are forgotten. {table}: a table of past.
DELETE FROM {table} WHERE version = ANY (%(versions)s)
