-- A text as jsonb, or null where jsonb refuses it (no JSON, or JSON with a \u0000 or a lone surrogate). Not LANGUAGE sql: its
-- planner would fold the cast of a known text before the check is made.
CREATE OR REPLACE FUNCTION jsonb_or_null(json_text text) RETURNS jsonb
LANGUAGE plpgsql STABLE STRICT PARALLEL SAFE AS $$
BEGIN
    IF pg_input_is_valid(json_text, 'jsonb') THEN
        RETURN json_text::jsonb;
    END IF;
    RETURN NULL;
END
$$;
