-- The number of events whose hashes are wrong: the rules of infrastructure/audit/chain.py in one statement, for script/bench
-- verify.
SELECT count(*)
FROM (
    SELECT payload_hash = sha256(payload) AS payload_holds,
           chain_hash = event_chain_hash(
               coalesce(lag(chain_hash) OVER stream, ''), position, tenant, stream, seq, type, schema_version, event_id,
               occurred_at, recorded_at, metadata, payload_hash) AS chain_holds
    FROM events
    WINDOW stream AS (PARTITION BY tenant, stream ORDER BY seq)
) checked
WHERE NOT (payload_holds AND chain_holds)
