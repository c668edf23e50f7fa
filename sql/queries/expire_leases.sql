-- Let every lease run out: nobody but the caller works on this database.
WITH runs AS (
    UPDATE run_queue SET lease_expires_at = clock_timestamp() WHERE state = 'leased'
)
UPDATE effects SET lease_expires_at = clock_timestamp() WHERE state = 'leased'
