"""Command handlers, process managers and effect handlers; they reach the world through `application.ports`."""
