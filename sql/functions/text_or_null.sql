-- Bytes as UTF-8 text, or null if they are not that (a compressed or encrypted payload, or one with a zero byte).
CREATE OR REPLACE FUNCTION text_or_null(bytes bytea) RETURNS text
LANGUAGE plpgsql STABLE STRICT PARALLEL SAFE AS $$
BEGIN
    RETURN convert_from(bytes, 'UTF8');
EXCEPTION WHEN character_not_in_repertoire OR untranslatable_character THEN
    RETURN NULL;
END
$$;
-- Before version 17 nothing that runs beside parallel workers may catch an error.
DO $$
BEGIN
    IF current_setting('server_version_num')::integer < 170000 THEN
        ALTER FUNCTION text_or_null(bytea) PARALLEL UNSAFE;
    END IF;
END
$$;
