"""What a provider can do, and what that means for a run. Which providers there are is not the domain's to know."""

import msgspec

from domain.run.values import RunSpec, Warn


class Capabilities(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """`execution_profiles`: those that the provider maps; another one gives a warning and its default.
    `human_loop_hint`: what gives a run of this provider a human loop, where something does."""

    provider: str
    resume: bool = False
    human_loop: bool = False
    todo_stream: bool = False
    build_plan_mode: bool = False
    execution_profiles: tuple[str, ...] = ()
    human_loop_hint: str = ""


def blocked_reason(spec: RunSpec, capabilities: Capabilities) -> str:
    """Why the run can't start, in words that a person can act on; empty when it can."""
    if spec.require_human_loop and not capabilities.human_loop:
        hint = capabilities.human_loop_hint or "choose a provider with humanLoop (GET /api/providers)"
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
        known = ", ".join(capabilities.execution_profiles)
        warnings.append(
            Warn(
                code="unknown_execution_profile",
                message=f"{capabilities.provider} has no profile {spec.execution_profile!r}: its default is used"
                + (f"; known are {known}" if known else ""),
            )
        )
    return tuple(warnings)
