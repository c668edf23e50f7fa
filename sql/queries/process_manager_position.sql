-- How far the process managers have come in the log; nothing before their first start.
SELECT min(position) FROM process_manager_checkpoint
