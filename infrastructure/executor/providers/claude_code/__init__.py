"""The `claude-code` provider: Claude Code over its stream-json protocol."""
