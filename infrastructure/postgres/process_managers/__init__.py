"""Runs the process managers over the log."""
