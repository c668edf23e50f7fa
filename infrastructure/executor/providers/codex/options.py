"""Checks a run's `executionProfile` and `providerOptions` for Codex."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec

from domain.errors import InvalidInput
from domain.run.values import RunSpec
from infrastructure.executor.providers.provider_options import options_as

ApprovalPolicy = Literal["untrusted", "on-request", "never"]
Sandbox = Literal["read-only", "workspace-write", "danger-full-access"]
_THREAD_ID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_OURS = ("model_provider", "model_providers", "openai_base_url", "chatgpt_base_url")
"""Configuration that decides where credentials are sent: set by the installation, refused in a run."""


class CodexProfile(msgspec.Struct, frozen=True, kw_only=True):
    approval: ApprovalPolicy
    sandbox: Sandbox = "danger-full-access"
    plan: bool = False


PROFILES: Mapping[str, CodexProfile] = {
    "default": CodexProfile(approval="untrusted"),
    "build": CodexProfile(approval="on-request"),
    "plan": CodexProfile(approval="untrusted", plan=True),
    "full-access": CodexProfile(approval="never"),
    "workspace-write": CodexProfile(approval="on-request", sandbox="workspace-write"),
    "read-only": CodexProfile(approval="on-request", sandbox="read-only"),
}
"""The session worker is the security boundary. Codex's own sandbox inside it needs user namespaces, which a Docker
worker lacks."""


class CodexOptions(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """`providerOptions`. `maxRetries`: how often Codex itself repeats a failed request to the model; `networkAccess`:
    for commands in the sandbox `workspace-write`; `config`: further Codex configuration, by (dotted) name."""

    approval_policy: ApprovalPolicy | None = None
    sandbox: Sandbox | None = None
    network_access: bool | None = None
    effort: Annotated[str, msgspec.Meta(max_length=40)] | None = None
    summary: Literal["auto", "concise", "detailed", "none"] | None = None
    max_retries: Annotated[int, msgspec.Meta(ge=0, le=20)] = 2
    fork_session: bool = False
    output_schema: dict[str, Any] | None = None
    mcp_servers: dict[str, Any] | None = None
    config: dict[str, Any] = {}


KNOWN_OPTIONS = CodexOptions.__struct_encode_fields__


def options_of(spec: RunSpec) -> CodexOptions:
    """Raises InvalidInput with the option's field."""
    options = options_as(CodexOptions, spec)
    for name in options.config:
        if name.partition(".")[0] in _OURS:
            raise InvalidInput(f"providerOptions.config.{name}", "is set by the installation, not by a run")
    return options


def check_thread_id(spec: RunSpec) -> None:
    """Raises InvalidInput for a `resumeSessionId` that is no Codex thread id."""
    if spec.resume_session_id and not _THREAD_ID.fullmatch(spec.resume_session_id):
        raise InvalidInput("resumeSessionId", f"{spec.resume_session_id!r} is no id of a Codex thread")


def profile_of(spec: RunSpec, options: CodexOptions) -> CodexProfile:
    profile = PROFILES.get(spec.execution_profile, PROFILES["default"])
    return msgspec.structs.replace(
        profile, approval=options.approval_policy or profile.approval, sandbox=options.sandbox or profile.sandbox
    )
