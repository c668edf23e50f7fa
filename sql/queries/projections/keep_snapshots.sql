-- Stores row snapshots; existing ones stay.
INSERT INTO row_snapshots (projection, fold_version, tenant, stream, seq, body)
SELECT %(projection)s, %(fold_version)s, * FROM unnest(
    %(tenants)s::text[], %(streams)s::text[], %(seqs)s::bigint[], %(bodies)s::text[]::json[])
ON CONFLICT DO NOTHING
