-- Copies the rows of another version to begin with. {table}: a table of past; {columns}: its columns but the version.
INSERT INTO {table} (version, {columns})
SELECT %(version)s, {columns} FROM {table} WHERE version = %(from_version)s
