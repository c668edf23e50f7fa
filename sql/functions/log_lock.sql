-- The key of the advisory lock under which positions are assigned: an arbitrary number, the same for all writers.
CREATE OR REPLACE FUNCTION log_lock() RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT 5067271820452197
$$;
