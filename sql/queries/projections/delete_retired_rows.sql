-- Delete some rows of a retired version. {table}: a table of read_models.
DELETE FROM {table} WHERE ctid IN (SELECT ctid FROM {table} WHERE version = %(version)s LIMIT %(limit)s)
