"""The `opencode` provider: opencode over HTTP."""
