-- Expires all leases, for a caller who knows that no other process works on this database.
WITH runs AS (
    UPDATE run_queue SET lease_expires_at = clock_timestamp() WHERE state = 'leased'
), keys AS (
    UPDATE idempotency_keys SET leased_until = clock_timestamp() WHERE status IS NULL
)
UPDATE effects SET lease_expires_at = clock_timestamp() WHERE state = 'leased'
