-- Makes sure that each projection of this code has a version; see functions/declare_projection.sql.
SELECT declare_projection(n.projection, n.fold_version)
FROM unnest(%(projections)s::text[], %(fold_versions)s::integer[]) AS n (projection, fold_version)
