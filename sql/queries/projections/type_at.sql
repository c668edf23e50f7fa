-- The type of the event at a position.
SELECT type FROM events WHERE position = %(position)s
