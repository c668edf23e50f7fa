"""What each provider can do, known without starting anything, and what that means for a run."""

import msgspec

from domain.errors import InvalidInput
from domain.run.values import RunSpec, Warn


class Capabilities(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """`execution_profiles`: those that the provider maps; another one gives a warning and its default."""

    provider: str
    resume: bool
    human_loop: bool
    todo_stream: bool
    build_plan_mode: bool
    execution_profiles: tuple[str, ...] = ()


SCRIPTED = Capabilities(provider="scripted", resume=False, human_loop=False, todo_stream=True, build_plan_mode=False)

PROVIDERS: dict[str, Capabilities] = {"scripted": SCRIPTED}
ALIASES: dict[str, str] = {"codex-app-server": "codex-cli"}


def capabilities_of(spec: RunSpec) -> Capabilities:
    """The capabilities for this run: options may widen them (`scripted` has a human loop when it is interactive)."""
    known = PROVIDERS.get(ALIASES.get(spec.provider, spec.provider))
    if known is None:
        names = ", ".join(sorted(PROVIDERS))
        raise InvalidInput("provider", f"{spec.provider!r} is not a provider of this installation; known are: {names}")
    if known.provider == "scripted" and spec.provider_options.get("interactive") is True:
        return msgspec.structs.replace(known, human_loop=True)
    return known


def blocked_reason(spec: RunSpec, capabilities: Capabilities) -> str:
    """Why the run can't start, in words that a person can act on; empty when it can."""
    if spec.require_human_loop and not capabilities.human_loop:
        hint = (
            "set providerOptions.interactive to true"
            if capabilities.provider == "scripted"
            else "choose a provider with humanLoop (GET /api/providers)"
        )
        return f"the run requires humanLoop and {capabilities.provider} has none: {hint}, or drop requireHumanLoop"
    return ""


def degradations(spec: RunSpec, capabilities: Capabilities) -> tuple[Warn, ...]:
    """What the run goes on without, one warning each."""
    warnings = []
    if spec.resume_session_id and not capabilities.resume:
        warnings.append(
            Warn(
                code="resume_unsupported",
                message=f"{capabilities.provider} can't resume {spec.resume_session_id!r}: a new conversation begins",
            )
        )
    if spec.execution_profile and spec.execution_profile not in capabilities.execution_profiles:
        warnings.append(
            Warn(
                code="unknown_execution_profile",
                message=f"{capabilities.provider} has no profile {spec.execution_profile!r}: its default is used",
            )
        )
    return tuple(warnings)
