"""Errors as the API tells them: RFC 9457 problem documents (`application/problem+json`).

Every problem has type, title, status, detail, error (the text of detail) and traceId; a validation problem names each
offending value in `errors[]{field, message}`; a conflict has a machine-readable `reason`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from starlette.responses import Response

from application.audit import AuditBusy
from application.effects.effect import EffectObsolete
from application.ports import ExecutorError, RuntimeUnavailable, StartFailed
from application.session_commands import ActivationRefused
from domain.errors import Conflict, DomainError, Fenced, InvalidInput, NotFound
from projections.ports import NotBuiltYet, NotProjectedYet

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_S = 1


class FieldError(msgspec.Struct, frozen=True, kw_only=True):
    """`field`: the JSON path in the body, the name of a path or query parameter or of a header, or `body`."""

    field: str
    message: str


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


class Problem(Exception):
    """An error answer. `kind` is the last part of its type URI; `extra` holds members beside the usual ones."""

    def __init__(
        self,
        status: int,
        kind: str,
        title: str,
        detail: str,
        *,
        errors: Sequence[FieldError] = (),
        extra: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status, self.kind, self.title, self.detail = status, kind, title, detail
        self.errors, self.extra, self.headers = tuple(errors), dict(extra or {}), dict(headers or {})


def invalid(field: str, message: str) -> Problem:
    """400 for one value that can't be accepted."""
    return Problem(
        400,
        "invalid-input",
        "Invalid input",
        f"{field}: {message}",
        errors=[FieldError(field=field, message=message)],
    )


def unavailable(detail: str, *, reason: str, retry_after_s: int = RETRY_AFTER_S) -> Problem:
    """503 for what passes: the caller may try the same again after `retry_after_s` seconds."""
    return Problem(
        503,
        "unavailable",
        "Not available now",
        detail,
        extra={"reason": reason},
        headers={"retry-after": str(retry_after_s)},
    )


def internal_error() -> Problem:
    """500, without a word of what happened inside; the log has it under the same traceId."""
    return Problem(
        500, "internal", "Internal error", "something went wrong on our side; the server's log has it by traceId"
    )


_PASSING: dict[type[Exception], str] = {
    RuntimeUnavailable: "runtime_unavailable",
    ExecutorError: "executor_unavailable",
    EffectObsolete: "worker_changed",
    NotProjectedYet: "read_model_behind",
    NotBuiltYet: "past_state_is_being_built",
    AuditBusy: "audit_under_way",
}


def problem_of(error: Exception, unavailable_errors: tuple[type[Exception], ...]) -> Problem | None:
    """The problem that an error is to a caller; None for one that nobody foresaw."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, DomainError):
        return _broken_rule(error)
    if isinstance(error, StartFailed):
        return Problem(409, "conflict", "Activation failed", str(error), extra={"reason": "start_failed"})
    if type(error) in _PASSING:
        return unavailable(str(error), reason=_PASSING[type(error)])
    if isinstance(error, (*unavailable_errors, TimeoutError)):
        return unavailable("a part that this needs can't be reached now; try again", reason="dependency_unavailable")
    return None


def _broken_rule(error: DomainError) -> Problem:
    match error:
        case InvalidInput(field=field, message=message):
            return invalid(field, message)
        case NotFound():
            return Problem(404, "not-found", "Not found", str(error))
        case ActivationRefused(missing_required_paths=missing):
            paths = {"missingRequiredPaths": missing} if missing else {}
            return Problem(409, "conflict", "Activation failed", str(error), extra={"reason": error.reason, **paths})
        case Conflict(reason=reason):
            return Problem(409, "conflict", "Conflict with the present state", str(error), extra={"reason": reason})
        case Fenced():
            return Problem(409, "fenced", "Fenced", str(error), extra={"reason": "fenced"})
        case _:
            return Problem(400, "rule-broken", "Rule broken", str(error))


def problem_body(problem: Problem, trace_id: str) -> dict[str, Any]:
    """The members of the document, in the order that people read."""
    body: dict[str, Any] = {
        "type": f"urn:fleetlog:problem:{problem.kind}",
        "title": problem.title,
        "status": problem.status,
        "detail": problem.detail,
        "error": problem.detail,
        "traceId": trace_id,
    }
    if problem.errors:
        body["errors"] = problem.errors
    return {**body, **problem.extra}


def problem_response(problem: Problem, trace_id: str) -> Response:
    """The response of a problem; never cached."""
    return Response(
        msgspec.json.encode(problem_body(problem, trace_id)),
        status_code=problem.status,
        media_type=MEDIA_TYPE,
        headers={"cache-control": "no-store", **problem.headers},
    )
