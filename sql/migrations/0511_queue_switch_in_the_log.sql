-- The switch of the run queue is read from the log (functions/run_queue_is_paused.sql): a row that followed it with the
-- process managers' checkpoint let a run be claimed after the pause had been answered.
DROP TABLE run_queue_control;
