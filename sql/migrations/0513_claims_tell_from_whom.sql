-- Claims tell whose lease had run out: their functions get another shape.
DROP FUNCTION IF EXISTS claim_runs(text, integer, interval, integer);
DROP FUNCTION IF EXISTS claim_effects(text, integer, interval, text[], integer, integer);
