"""What people decide about the work itself: effects that were given up, and the switch of the run queue."""
