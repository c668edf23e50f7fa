-- The key of the advisory lock that is held by the process that updates a version of a projection.
CREATE OR REPLACE FUNCTION projection_lock(projection text, version integer) RETURNS bigint LANGUAGE sql IMMUTABLE AS $$
    SELECT hashtextextended('projection ' || projection || ' ' || version, 0)
$$;
