-- The checkpoint of the event index, and the version of its terms.
SELECT position, version FROM event_index_checkpoint
