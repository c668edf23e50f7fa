-- How many commands of each process manager wait for their session, and since when the oldest of them does.
SELECT process_manager, count(*)::int AS commands, min(since) AS since
FROM pending_commands GROUP BY process_manager ORDER BY process_manager
