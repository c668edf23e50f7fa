-- The key of the advisory lock under which positions are assigned: any number, the same for all writers of the log.
CREATE OR REPLACE FUNCTION log_lock() RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT 5067271820452197
$$;
