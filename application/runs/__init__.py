"""Commands to runs and forks of them, and how a run worker executes a run from its claim to its end."""
