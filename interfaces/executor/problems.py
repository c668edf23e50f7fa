"""Errors as RFC 9457 problem+json: `type`, `title`, `status`, `detail`, and beside these `error` (the text of
`detail`), `reason` (a stable word for machines), `traceId`, `errors[]{field, message}` and `paths` where they apply."""

import errno
import http
import logging
import re
from typing import Any

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from domain.errors import Conflict, DomainError, InvalidInput, NotFound
from interfaces.executor.tracing import current_trace

_log = logging.getLogger("fleetlog.executor.http")
_FILE_SYSTEM = {
    errno.ENOSPC: (507, "disk_full"),
    errno.EDQUOT: (507, "disk_full"),
    errno.ENAMETOOLONG: (422, "name_too_long"),
    errno.EACCES: (409, "permission_denied"),
    errno.EPERM: (409, "permission_denied"),
    errno.EROFS: (409, "permission_denied"),
}
_AT = re.compile(r"(?P<message>.*) - at `\$\.?(?P<field>.*)`", re.DOTALL)


class BodyTooLarge(Exception):
    """The body has more bytes than this call takes."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"the body is larger than {limit} bytes")


ReasonedStatus = dict[type[Exception], tuple[int, str]]
"""Which status and reason other errors have, by their type."""

_KNOWN: ReasonedStatus = {
    BodyTooLarge: (413, "body_too_large"),
    ClientDisconnect: (400, "body_incomplete"),
    UnicodeEncodeError: (400, "invalid_input"),  # half of a surrogate pair is no character of a path
}


def problem(
    status: int, detail: str, reason: str, *, headers: dict[str, str] | None = None, **extra: object
) -> Response:
    """One error answer."""
    body: dict[str, Any] = {
        "type": f"urn:fleetlog:problem:{reason}",
        "title": http.HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "error": detail,
        "reason": reason,
        "traceId": current_trace().get("traceId", ""),
    }
    return Response(
        msgspec.json.encode({**body, **extra}), status, headers=headers, media_type="application/problem+json"
    )


def problem_of(error: Exception, others: ReasonedStatus) -> Response:
    """The answer for any error. What nobody expected is logged with its trace and told as a 500 without inside news."""
    if isinstance(error, DomainError):
        return _refusal(error)
    if isinstance(error, msgspec.DecodeError | UnicodeDecodeError):
        return _undecodable(error)
    if isinstance(error, HTTPException):
        reason = "not_found" if error.status_code == 404 else "method_not_allowed"
        return problem(error.status_code, str(error.detail), reason, headers=dict(error.headers or {}))
    if isinstance(error, OSError) and error.errno in _FILE_SYSTEM:
        status, reason = _FILE_SYSTEM[error.errno]
        return problem(status, f"the file system refused: {error.strerror}", reason)
    for kind, (status, reason) in (_KNOWN | others).items():
        if isinstance(error, kind):
            return problem(status, str(error) or reason.replace("_", " "), reason)
    _log.error("unexpected error", exc_info=error)
    return problem(500, "the executor failed unexpectedly; its log has the details", "internal")


def _refusal(error: DomainError) -> Response:
    if isinstance(error, InvalidInput):
        return problem(400, str(error), "invalid_input", errors=[{"field": error.field, "message": error.message}])
    if isinstance(error, NotFound):
        return problem(404, str(error), "not_found")
    if isinstance(error, Conflict):
        paths = getattr(error, "paths", None)
        return problem(409, str(error), error.reason, **({"paths": paths} if paths is not None else {}))
    return problem(422, str(error), getattr(error, "reason", "refused"))


def _undecodable(error: Exception) -> Response:
    if not isinstance(error, msgspec.ValidationError):
        message = f"the body is not JSON: {error}"
        return problem(400, message, "malformed_json", errors=[{"field": "body", "message": message}])
    found = _AT.fullmatch(str(error))
    field, message = (found["field"], found["message"]) if found else ("body", str(error))
    return problem(400, f"{field}: {message}", "invalid_input", errors=[{"field": field, "message": message}])
