"""Process managers: pure functions from an event to its outcomes, each named after what it does on which event; and how
their commands are sent."""
