"""Is the log what was written? Its hash chain walked, checkpoints of it signed, exports, read models compared."""
