"""What operators command, and what runs by the clock: retries and skips, dead letters, the queue's pause, reconcilers,
the schedule, the diagnosis of an installation."""
