"""Whether a run whose attempt has failed gets another one. Pure."""

from domain.run.state import Finishing, Run
from domain.run.values import FINAL_ERRORS, TRANSIENT_ERRORS, RunError


def may_retry(state: Run, error: RunError) -> bool:
    if state.spec is None or state.spec.retry_policy == "never" or state.abort is not None or state.cancel_requested:
        return False
    if state.spec.retry_policy == "always":
        return True
    started = isinstance(state.stage, Finishing)
    return error.error_class in TRANSIENT_ERRORS if started else error.error_class not in FINAL_ERRORS


def exhausted(state: Run, error: RunError) -> RunError:
    """The error of a run that has no attempt left, after the last one's."""
    limit = state.spec.max_attempts if state.spec else state.attempt
    return RunError(
        error_class="attempts_exhausted", message=f"attempt {state.counted_attempts} of {limit} failed: {error.message}"
    )
