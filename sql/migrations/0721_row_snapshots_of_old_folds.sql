-- Rows that a fold kept which is not in use any more were never deleted. From now on they go with its last version.
DELETE FROM row_snapshots s
WHERE NOT EXISTS (
    SELECT FROM projection_versions v WHERE v.projection = s.projection AND v.fold_version = s.fold_version
);
