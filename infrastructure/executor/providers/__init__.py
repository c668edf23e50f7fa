"""Providers: a folder for each kind of agent, the modules that they share, and the list of their descriptions."""
