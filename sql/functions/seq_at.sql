-- The last seq of a stream at or before a position, 0 if there is none. Both grow together, so a binary search over the
-- index of the stream finds it, in a stream with gaps, too.
CREATE OR REPLACE FUNCTION seq_at(of_tenant text, of_stream text, at_position bigint) RETURNS bigint
LANGUAGE plpgsql STABLE AS $$
DECLARE
    low bigint := 0;
    high bigint;
    middle bigint;
    found record;
BEGIN
    SELECT e.seq INTO high FROM events e
    WHERE e.tenant = of_tenant AND e.stream = of_stream ORDER BY e.seq DESC LIMIT 1;
    WHILE low < high LOOP
        middle := (low + high + 1) / 2;
        SELECT e.seq, e.position INTO found FROM events e
        WHERE e.tenant = of_tenant AND e.stream = of_stream AND e.seq >= middle ORDER BY e.seq LIMIT 1;
        IF found.position <= at_position THEN
            low := found.seq;
        ELSE
            high := middle - 1;
        END IF;
    END LOOP;
    RETURN low;
END
$$;
