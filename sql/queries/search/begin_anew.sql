-- Another version of the words: the index is made again from the log's first event.
UPDATE event_index_checkpoint SET position = 0, version = %(version)s WHERE version < %(version)s RETURNING position
