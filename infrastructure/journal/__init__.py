"""The durable journal of a run: one entry per event."""
