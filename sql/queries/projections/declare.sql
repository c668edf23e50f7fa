-- Have a version for each projection of this code.
SELECT declare_projection(n.projection, n.fold_version)
FROM unnest(%(projections)s::text[], %(fold_versions)s::integer[]) AS n (projection, fold_version)
