-- A text as jsonb, or null if jsonb refuses it (it is not JSON, or has a \u0000 or a lone surrogate). Not LANGUAGE sql,
-- because that would fold the cast of a constant before the check.
CREATE OR REPLACE FUNCTION jsonb_or_null(json_text text) RETURNS jsonb
LANGUAGE plpgsql STABLE STRICT PARALLEL SAFE AS $$
BEGIN
    IF current_setting('server_version_num')::integer >= 160000 THEN
        IF pg_input_is_valid(json_text, 'jsonb') THEN
            RETURN json_text::jsonb;
        END IF;
        RETURN NULL;
    END IF;
    BEGIN
        RETURN json_text::jsonb;
    EXCEPTION WHEN data_exception OR program_limit_exceeded THEN
        RETURN NULL;
    END;
END
$$;
-- Before version 17 nothing that runs beside parallel workers may catch an error.
DO $$
BEGIN
    IF current_setting('server_version_num')::integer < 170000 THEN
        ALTER FUNCTION jsonb_or_null(text) PARALLEL UNSAFE;
    END IF;
END
$$;
