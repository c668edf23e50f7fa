-- Write a row. {table}: a table of read_models, with its {columns}.
INSERT INTO {table} ({columns})
VALUES ({values})
ON CONFLICT (version, tenant, key) DO UPDATE SET {assignments}
