"""Live streams: one tail per process reads each new event once, wakes waiters and feeds subscribers."""
