-- A text as jsonb, or null if jsonb refuses it (it is not JSON, or has a \u0000 or a lone surrogate). Not LANGUAGE sql,
-- because that would fold the cast of a constant before the check.
CREATE OR REPLACE FUNCTION jsonb_or_null(json_text text) RETURNS jsonb
LANGUAGE plpgsql STABLE STRICT PARALLEL SAFE AS $$
BEGIN
    IF pg_input_is_valid(json_text, 'jsonb') THEN
        RETURN json_text::jsonb;
    END IF;
    RETURN NULL;
END
$$;
