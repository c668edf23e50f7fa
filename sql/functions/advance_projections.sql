-- Moves checkpoints, each from exactly the position that the caller expects. If any of them is elsewhere (another process
-- has taken over, the version was retired) it raises serialization_failure, which rolls the transaction back.
CREATE OR REPLACE FUNCTION advance_projections(
    projections text[],
    versions integer[],
    positions_before bigint[],
    positions_after bigint[]
) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    moved integer;
BEGIN
    UPDATE projection_versions v
    SET position = n.position_after, updated_at = clock_timestamp()
    FROM unnest(projections, versions, positions_before, positions_after)
         AS n (projection, version, position_before, position_after)
    WHERE v.projection = n.projection AND v.version = n.version AND v.position = n.position_before
      AND v.state <> 'retired' AND v.status = 'running';
    GET DIAGNOSTICS moved = ROW_COUNT;
    IF moved <> cardinality(projections) THEN
        RAISE EXCEPTION 'projections % are not all where this process left them', projections
            USING ERRCODE = 'serialization_failure';
    END IF;
    PERFORM pg_notify('fleetlog_projection', positions_after[1]::text);
END
$$;
