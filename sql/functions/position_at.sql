-- The last position that was recorded at or before a time, 0 if there is none. As recorded_at never decreases while the
-- position grows, a binary search over the primary key finds it, in a log with gaps, too.
CREATE OR REPLACE FUNCTION position_at(moment timestamptz) RETURNS bigint LANGUAGE plpgsql STABLE AS $$
DECLARE
    low bigint := 0;
    high bigint;
    middle bigint;
    found record;
BEGIN
    SELECT coalesce(max(position), 0) INTO high FROM events;
    WHILE low < high LOOP
        middle := (low + high + 1) / 2;
        SELECT e.position, e.recorded_at INTO found
        FROM events e WHERE e.position >= middle ORDER BY e.position LIMIT 1;
        IF found.recorded_at <= moment THEN
            low := found.position;
        ELSE
            high := middle - 1;
        END IF;
    END LOOP;
    RETURN low;
END
$$;
