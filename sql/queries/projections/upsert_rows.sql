-- Writes rows with distinct keys. {table}: a table of read_models with its {columns}; every parameter but the version is an
-- array of texts, one per column, and becomes {values}.
INSERT INTO {table} ({columns})
SELECT {values}
FROM unnest({arrays}) AS given ({given})
ON CONFLICT (version, tenant, key) DO UPDATE SET {assignments}
