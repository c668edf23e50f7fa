"""What a run may ask of Claude Code: `executionProfile` and `providerOptions`."""

from collections.abc import Mapping
from typing import Any

import msgspec

PERMISSION_MODES: Mapping[str, str] = {
    "default": "default",
    "build": "acceptEdits",
    "plan": "plan",
    "acceptEdits": "acceptEdits",
    "bypassPermissions": "bypassPermissions",
    "dontAsk": "dontAsk",
}
"""Execution profile → Claude's permission mode."""


class ClaudeOptions(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """`providerOptions`. `maxRetries`: how often Claude Code itself repeats a failed request to the model."""

    allowed_tools: tuple[str, ...] = ()
    disallowed_tools: tuple[str, ...] = ()
    max_turns: int | None = None
    max_retries: int = 2
    max_budget_usd: float | None = None
    effort: str = ""
    fallback_model: str = ""
    fork_session: bool = False
    settings: dict[str, Any] | None = None
    mcp_servers: dict[str, Any] | None = None


KNOWN_OPTIONS = ClaudeOptions.__struct_encode_fields__
