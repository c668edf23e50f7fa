-- Makes the version that was built the active one, which readers use, and retires the active one. Returns false, and changes
-- nothing, if the built one is behind the active one. One transaction, so that every snapshot has exactly one active
-- version.
CREATE OR REPLACE FUNCTION activate_projection(name text, built_version integer) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    active_position bigint;
    built_position bigint;
BEGIN
    SELECT position INTO active_position FROM projection_versions
    WHERE projection = name AND state = 'active' FOR UPDATE;
    SELECT position INTO built_position FROM projection_versions
    WHERE projection = name AND version = built_version AND state = 'building' FOR UPDATE;
    IF built_position IS NULL OR built_position < active_position THEN
        RETURN false;
    END IF;
    UPDATE projection_versions SET state = 'retired', updated_at = clock_timestamp()
    WHERE projection = name AND state = 'active';
    UPDATE projection_versions SET state = 'active', updated_at = clock_timestamp()
    WHERE projection = name AND version = built_version;
    PERFORM pg_notify('fleetlog_projection', name);
    RETURN true;
END
$$;
