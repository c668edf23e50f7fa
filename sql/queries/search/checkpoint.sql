-- How far the index has got, by which version of the words.
SELECT position, version FROM event_index_checkpoint
