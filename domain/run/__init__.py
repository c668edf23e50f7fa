"""The run aggregate: one execution of a provider in a session."""
