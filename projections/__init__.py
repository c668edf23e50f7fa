"""Read models: which events they fold, their rows and their queries."""
