-- All versions, retired ones included.
SELECT projection, version, fold_version, state, status, position FROM projection_versions ORDER BY projection, version
