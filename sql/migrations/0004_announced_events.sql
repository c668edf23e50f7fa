-- The functions take one argument more, with a default for the processes of the last release that still run.
DROP FUNCTION IF EXISTS append_event(
    text, text, bigint, text, integer, text, timestamptz, text, bytea, bytea);
DROP FUNCTION IF EXISTS append_events(
    text, text[], integer[], bigint[], integer[], text[], integer[], text[], timestamptz[], text[], bytea[], bytea[]);
