"""What a run may ask of opencode: `executionProfile` and `providerOptions`."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec

Action = Literal["ask", "allow", "deny"]


class OpencodeProfile(msgspec.Struct, frozen=True, kw_only=True):
    """An execution profile: opencode's agent, and the permissions that differ from that agent's own."""

    agent: str
    permission: Mapping[str, Action] = {}


PROFILES: Mapping[str, OpencodeProfile] = {
    "default": OpencodeProfile(agent="build", permission={"edit": "ask", "bash": "ask"}),
    "build": OpencodeProfile(agent="build"),
    "plan": OpencodeProfile(agent="plan"),
}


class OpencodeOptions(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """`providerOptions`. `agent`: one of the workspace's own instead of the profile's. `permission`, `modelConfig` and
    `mcp` are parts of opencode's configuration (https://opencode.ai/docs/config): what each tool may do, the run's
    model (limit, cost, options), MCP servers. `maxRetries`: how often a failed request to the model is repeated before
    the run ends; opencode itself ends it after five."""

    agent: str = ""
    variant: str = ""
    small_model: str = ""
    permission: dict[str, Action | dict[str, Action]] = {}
    model_config: dict[str, Any] = {}
    mcp: dict[str, Any] = {}
    max_steps: Annotated[int, msgspec.Meta(ge=1)] | None = None
    max_retries: Annotated[int, msgspec.Meta(ge=0)] = 2


KNOWN_OPTIONS = OpencodeOptions.__struct_encode_fields__
