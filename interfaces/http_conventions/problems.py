"""Errors of both programs' HTTP servers: RFC 9457 problem documents (`application/problem+json`).

Every problem has type, title, status, detail, error (the same text as detail) and traceId; a validation problem names
each invalid value in `errors[]{field, message}`; a conflict has a machine-readable `reason`.
"""

import http
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from starlette.exceptions import HTTPException
from starlette.responses import Response

from domain.errors import Conflict, DomainError, Fenced, InvalidInput, NotAllowed, NotFound, StoredWorkspaceUnreadable

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_S = 1
_SHOWN_PATH = 200

StatusAndReason = Mapping[type[Exception], tuple[int, str]]
"""Adapters' exceptions, each with the HTTP status and the reason of its problem."""


class FieldError(msgspec.Struct, frozen=True, kw_only=True):
    """`field`: the JSON path in the body, the name of a path or query parameter or of a header, or `body`."""

    field: str
    message: str


class Problem(Exception):
    """An error response. `kind`: the last part of its type URI. `extra`: further members of the document."""

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
    """Problem 400 for one invalid value."""
    return Problem(
        400,
        "invalid-input",
        "Invalid input",
        f"{field}: {message}",
        errors=[FieldError(field=field, message=message)],
    )


def conflict(detail: str, reason: str, **extra: object) -> Problem:
    """Problem 409 for what the current state does not allow."""
    return Problem(409, "conflict", "Conflict with the present state", detail, extra={"reason": reason, **extra})


def unavailable(detail: str, *, reason: str, retry_after_s: int = RETRY_AFTER_S) -> Problem:
    """Problem 503 for what is temporary: the caller may retry after `retry_after_s` seconds."""
    return Problem(
        503,
        "unavailable",
        "Not available now",
        detail,
        extra={"reason": reason},
        headers={"retry-after": str(retry_after_s)},
    )


def internal_error() -> Problem:
    """Problem 500 without details; the server's log has them under the same traceId."""
    return Problem(
        500, "internal", "Internal error", "something went wrong on our side; the server's log has it by traceId"
    )


def reasoned(status: int, reason: str, detail: str) -> Problem:
    """The problem of a status, its kind made from the reason; those of 409 and 503 have kinds of their own."""
    if status == http.HTTPStatus.CONFLICT:
        return conflict(detail, reason)
    if status == http.HTTPStatus.SERVICE_UNAVAILABLE:
        return unavailable(detail, reason=reason)
    title = http.HTTPStatus(status).phrase
    return Problem(status, reason.replace("_", "-"), title, detail, extra={"reason": reason})


def domain_problem(error: DomainError) -> Problem | None:
    """The problem for a domain error; None for one that nobody was expected to see."""
    match error:
        case InvalidInput(field=field, message=message):
            return invalid(field, message)
        case NotFound():
            return Problem(404, "not-found", "Not found", str(error))
        case Conflict(reason=reason):
            return conflict(str(error), reason)
        case NotAllowed(reason=reason):
            return reasoned(403, reason, str(error))
        case StoredWorkspaceUnreadable(reason=reason):
            kind, title = "stored-workspace-unreadable", "Stored workspace unreadable"
            return Problem(422, kind, title, str(error), extra={"reason": reason})
        case Fenced():
            return Problem(409, "fenced", "Fenced", str(error), extra={"reason": "fenced"})
        case _:
            return None


def routing_problem(error: HTTPException, path: str) -> Problem:
    """The problem for Starlette's own errors: unknown paths, and methods that a path does not have."""
    kinds = {404: ("not-found", "Not found"), 405: ("method-not-allowed", "Method not allowed")}
    kind, title = kinds.get(error.status_code, ("refused", "Refused"))
    detail = f"there is nothing at {path[:_SHOWN_PATH]}" if error.status_code == 404 else error.detail
    return Problem(error.status_code, kind, title, detail, headers=dict(error.headers or {}))


def problem_body(problem: Problem, trace_id: str) -> dict[str, Any]:
    """The members of the problem document."""
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
    """The problem as a response that is never cached."""
    return Response(
        msgspec.json.encode(problem_body(problem, trace_id)),
        status_code=problem.status,
        media_type=MEDIA_TYPE,
        headers={"cache-control": "no-store", **problem.headers},
    )
