"""Maps the application's exceptions to problems, and describes the problem document for OpenAPI."""

import msgspec

from application.ports.effect_handler import EffectObsolete
from application.ports.executor import ExecutorError
from application.ports.log_audit import AuditBusy
from application.ports.worker_runtime import RuntimeUnavailable, StartFailed
from application.sessions.commands import ActivationRefused
from domain.errors import Conflict, DomainError
from domain.event import WrittenByNewerVersion
from interfaces.http_conventions.problems import (
    FieldError,
    Problem,
    StatusAndReason,
    domain_problem,
    reasoned,
    unavailable,
)
from projections.ports import NotBuiltYet, NotProjectedYet


class ProblemDocument(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """The body of every error. `error` repeats `detail`."""

    type: str
    title: str
    status: int
    detail: str
    error: str
    trace_id: str
    errors: tuple[FieldError, ...] = ()
    reason: str = ""
    missing_required_paths: tuple[str, ...] = ()


DEPLOY_RETRY_AFTER_S = 5
DEPENDENCY_UNAVAILABLE = (503, "dependency_unavailable")
DISK_FULL = (503, "disk_full")
_ADAPTER_DETAILS = {
    502: "a part that this needs refused the call; the server's log has it by traceId",
    503: "a part that this needs can't be reached now; try again",
}
_DETAILS_BY_REASON = {
    "disk_full": "the database's disk is full, so nothing can be recorded: an operator must free some"
}
_TEMPORARY: dict[type[Exception], str] = {
    RuntimeUnavailable: "runtime_unavailable",
    ExecutorError: "executor_unavailable",
    EffectObsolete: "worker_changed",
    NotProjectedYet: "read_model_behind",
    NotBuiltYet: "past_state_is_being_built",
    AuditBusy: "audit_under_way",
}


def problem_of(error: Exception, adapter_errors: StatusAndReason) -> Problem | None:
    """The problem for an exception; None for one that is not expected here. What an adapter says stays in the log."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, ActivationRefused):
        paths = {"missingRequiredPaths": error.missing_required_paths} if error.missing_required_paths else {}
        return Problem(409, "conflict", "Activation failed", str(error), extra={"reason": error.reason, **paths})
    if isinstance(error, Conflict) and error.reason == "too_busy":
        return unavailable(str(error), reason=error.reason)
    if isinstance(error, DomainError):
        return domain_problem(error)
    if isinstance(error, StartFailed):
        return Problem(409, "conflict", "Activation failed", str(error), extra={"reason": "start_failed"})
    if isinstance(error, WrittenByNewerVersion):
        return _newer(error)
    if type(error) in _TEMPORARY:
        return unavailable(str(error), reason=_TEMPORARY[type(error)])
    for kind, (status, reason) in {**adapter_errors, TimeoutError: DEPENDENCY_UNAVAILABLE}.items():
        if isinstance(error, kind):
            return reasoned(status, reason, _DETAILS_BY_REASON.get(reason, _ADAPTER_DETAILS[status]))
    return None


def _newer(error: WrittenByNewerVersion) -> Problem:
    return unavailable(
        f"{error}; a newer version wrote it: ask again, a process of that version will answer",
        reason="written_by_newer_version",
        retry_after_s=DEPLOY_RETRY_AFTER_S,
    )
