"""A session's workspace on the disk: restore, sync, browse."""
