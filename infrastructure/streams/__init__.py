"""Live streams: one reader of the log's end per process, which wakes waiters and feeds subscribers."""
