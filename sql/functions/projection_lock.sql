-- The number of the advisory lock that whoever projects a version holds.
CREATE OR REPLACE FUNCTION projection_lock(projection text, version integer) RETURNS bigint LANGUAGE sql IMMUTABLE AS $$
    SELECT hashtextextended('projection ' || projection || ' ' || version, 0)
$$;
