-- Begins a new version of a projection at position 0, beside the active one, and returns its number. If one is being built
-- by the same or a newer fold, returns that one instead; one by an older fold is retired.
CREATE OR REPLACE FUNCTION begin_rebuild(name text, code_fold_version integer) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    building projection_versions;
    begun integer;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('begin rebuild ' || name, 0));
    SELECT * INTO building FROM projection_versions WHERE projection = name AND state = 'building';
    IF FOUND AND building.fold_version >= code_fold_version THEN
        RETURN building.version;
    END IF;
    UPDATE projection_versions SET state = 'retired' WHERE projection = name AND state = 'building';
    INSERT INTO projection_versions (projection, version, fold_version, state)
    SELECT name, max(version) + 1, code_fold_version, 'building' FROM projection_versions WHERE projection = name
    RETURNING version INTO begun;
    RETURN begun;
END
$$;
