-- Whether the schema is there: making it needs a privilege that using it doesn't.
SELECT to_regnamespace(%(schema)s) IS NOT NULL
