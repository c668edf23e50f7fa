"""Pure decisions: events, commands, state, decide and evolve. No I/O, no clock, no environment."""
