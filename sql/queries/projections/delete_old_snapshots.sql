-- Deletes some row snapshots of a fold version that no version in use has.
DELETE FROM row_snapshots
WHERE ctid IN (
    SELECT s.ctid FROM row_snapshots s
    WHERE s.projection = %(projection)s AND s.fold_version = %(fold_version)s
      AND NOT EXISTS (
          SELECT FROM projection_versions v
          WHERE v.projection = s.projection AND v.fold_version = s.fold_version AND v.state <> 'retired'
      )
    LIMIT %(limit)s
)
