-- Pause or resume the run queue.
UPDATE run_queue_control SET paused = %(paused)s
