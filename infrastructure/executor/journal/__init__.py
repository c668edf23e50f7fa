"""The durable journal of a run, one entry per event, and the folders of all runs."""
