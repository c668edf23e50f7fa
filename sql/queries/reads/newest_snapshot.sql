-- The last row snapshot of a stream at or before a seq.
SELECT seq, body::text
FROM row_snapshots
WHERE projection = %(projection)s AND fold_version = %(fold_version)s AND tenant = %(tenant)s AND stream = %(stream)s
  AND seq <= %(up_to)s
ORDER BY seq DESC
LIMIT 1
