-- How long housekeeping leaves a session worker alone after so many failed syncs in a row: from one minute to one hour.
CREATE OR REPLACE FUNCTION pause_of_syncs(failures integer) RETURNS interval LANGUAGE sql IMMUTABLE AS $$
    SELECT least(interval '1 hour', interval '1 minute' * 2 ^ (least(failures, 10) - 1))
$$;
