"""The `eventsourcing` library's persistence interfaces on Fleetlog's log."""
