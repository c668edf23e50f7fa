"""Runs users' own projections: a supervisor with a process of its own for each, its lock, its status."""
