-- See functions/claim_runs_2.sql. The trace of each is that of the event that put it into the queue.
SELECT claimed_run, claimed_generation, taken_from, ending, trace_of_queued_run(claimed_run) AS trace_id, due_in
FROM claim_runs_2(
    %(owner)s, %(limit)s, %(ending)s, %(lease)s, %(max_running)s, %(max_per_user)s, %(max_per_app)s, %(only_stale)s)
