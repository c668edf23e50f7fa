"""What operators decide, as events: dead letters, the queue's pause, stopped consumers of the log, rebuilds."""
