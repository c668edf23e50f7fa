"""What a provider can do, and what follows for a run. The domain does not know which providers exist."""

import msgspec

from domain.run.values import RunSpec, Warn


class Capabilities(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """`execution_profiles`: those that the provider knows; with any other, a run gets a warning and the default.
    `human_loop_hint`: how a run of this provider gets a human loop; empty if it can't."""

    provider: str
    resume: bool = False
    human_loop: bool = False
    todo_stream: bool = False
    build_plan_mode: bool = False
    execution_profiles: tuple[str, ...] = ()
    human_loop_hint: str = ""


def blocked_reason(spec: RunSpec, capabilities: Capabilities) -> str:
    """Why the run can't start and what to do about it; empty if it can."""
    if spec.require_human_loop and not capabilities.human_loop:
        hint = capabilities.human_loop_hint or "choose a provider with humanLoop (GET /api/providers)"
        return f"the run requires humanLoop and {capabilities.provider} has none: {hint}, or drop requireHumanLoop"
    return ""


def degradations(spec: RunSpec, capabilities: Capabilities) -> tuple[Warn, ...]:
    """One warning for each option of the spec that the provider does not support; the run goes on without it."""
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
