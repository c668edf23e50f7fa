-- Begin with the rows of another version. {table}: a table of past, with its {columns} but the version.
INSERT INTO {table} (version, {columns})
SELECT %(version)s, {columns} FROM {table} WHERE version = %(from_version)s
