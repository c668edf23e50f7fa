-- Puts runs into the queue's line. The lock is that of claims: functions/claim_runs_2.sql.
WITH locked AS MATERIALIZED (SELECT pg_advisory_xact_lock(5067271820452102))
SELECT line_up_runs(%(run_ids)s::text[]), pg_notify('fleetlog_run_queue', '') FROM locked
