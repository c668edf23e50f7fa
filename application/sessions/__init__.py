"""Session workers: the commands to them, their containers and executors, their syncs."""
