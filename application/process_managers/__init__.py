"""Process managers: pure functions from an event to what it makes wanted, named as sentences."""
