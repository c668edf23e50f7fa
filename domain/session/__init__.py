"""The session worker aggregate: the container of one session, and the sync gate that guards its workspace."""
