"""Load an aggregate, let it decide, append what it decided, and wait for a state; and append what reconcilers did."""
