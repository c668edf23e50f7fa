"""What is said and decided about a projection itself: pauses, retries, skips, rebuilds. Stream: `projection:{name}`."""
