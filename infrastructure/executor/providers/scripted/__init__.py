"""A shell script as an agent."""
