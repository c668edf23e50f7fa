"""The `codex-cli` provider: Codex over JSON-RPC lines."""
