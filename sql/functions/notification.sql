-- The payload of the NOTIFY of an append: the last position and, for a small batch, recorded_at (microseconds since 2000)
-- and the events.
CREATE OR REPLACE FUNCTION notification("position" bigint, recorded_at timestamptz, announced text) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN $3 = '' THEN $1::text
                ELSE $1::text || ' ' || ((extract(epoch FROM $2) - 946684800) * 1000000)::bigint || ' ' || $3 END
$$;
