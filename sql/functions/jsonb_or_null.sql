-- A text as jsonb, or null where jsonb refuses it (no JSON, or JSON with a \u0000 or a lone surrogate).
CREATE OR REPLACE FUNCTION jsonb_or_null(json_text text) RETURNS jsonb
LANGUAGE sql STABLE STRICT PARALLEL SAFE AS $$
    SELECT CASE WHEN pg_input_is_valid(json_text, 'jsonb') THEN json_text::jsonb END
$$;
