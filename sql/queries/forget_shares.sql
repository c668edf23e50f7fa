-- Forgets the shares of the queue that have nothing in it and have had no more turns than the others.
DELETE FROM run_queue_shares USING run_queue_rounds
WHERE NOT active AND run_queue_rounds.priority = run_queue_shares.priority AND next_turn <= turn + 1
