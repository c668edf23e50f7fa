"""Agents behind one contract. A new provider is one file and one line in the registry."""
