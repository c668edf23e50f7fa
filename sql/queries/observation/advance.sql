-- Moves the checkpoint of the observer of the log.
UPDATE observed_log SET position = %(position)s
