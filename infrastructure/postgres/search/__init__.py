"""The search of the log: an index that follows it, what is found by it, and why an event came to be."""
