-- Keeps claims of runs waiting until this transaction ends: functions/claim_runs_2.sql.
SELECT pg_advisory_xact_lock(5067271820452102)
