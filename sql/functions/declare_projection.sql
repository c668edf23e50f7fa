-- Makes sure that a projection has a version for code of this fold version. The first version is active at once; if the
-- active one has an older fold, a new one is begun beside it. Versions of newer code are not changed.
CREATE OR REPLACE FUNCTION declare_projection(name text, code_fold_version integer) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    active_fold integer;
    building_fold integer;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('declare projection ' || name, 0));
    SELECT fold_version INTO active_fold FROM projection_versions WHERE projection = name AND state = 'active';
    IF NOT FOUND THEN
        INSERT INTO projection_versions (projection, version, fold_version, state) VALUES (name, 1, code_fold_version, 'active');
        RETURN;
    END IF;
    SELECT fold_version INTO building_fold FROM projection_versions WHERE projection = name AND state = 'building';
    IF active_fold < code_fold_version AND coalesce(building_fold, 0) < code_fold_version THEN
        PERFORM begin_rebuild(name, code_fold_version);
    END IF;
END
$$;
