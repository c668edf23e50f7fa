-- A process that worked has ended.
DELETE FROM worker_processes WHERE owner = %(owner)s
