"""Maps the executor's errors to problem documents. Each has a `reason`, a snake_case word for machines: the error's
own, else the problem's kind."""

import errno
import logging

from starlette.requests import ClientDisconnect
from starlette.responses import Response

from application.diagnostic_context import diagnostic_ids
from domain.errors import Conflict, DomainError
from interfaces.http_conventions.problems import (
    Problem,
    StatusAndReason,
    conflict,
    domain_problem,
    internal_error,
    invalid,
    problem_response,
    reasoned,
)

_log = logging.getLogger("fleetlog.executor.http")
_FILE_SYSTEM = {
    errno.ENOSPC: (507, "disk_full"),
    errno.EDQUOT: (507, "disk_full"),
    errno.ENAMETOOLONG: (422, "name_too_long"),
    errno.EACCES: (409, "permission_denied"),
    errno.EPERM: (409, "permission_denied"),
    errno.EROFS: (409, "permission_denied"),
}


def problem_of(error: Exception, others: StatusAndReason) -> Problem:
    """The problem for any error. An unexpected error is logged and becomes a 500 without details."""
    match error:
        case Problem():
            return error
        case Conflict(reason=reason):
            paths = getattr(error, "paths", None)
            return conflict(str(error), reason, **({} if paths is None else {"paths": paths}))
        case DomainError() if problem := domain_problem(error):
            return problem
        case ClientDisconnect():
            return reasoned(400, "body_incomplete", "the body ended before its end")
        case UnicodeEncodeError():  # a lone surrogate in the body
            return invalid("body", str(error))
        case OSError(errno=number) if number in _FILE_SYSTEM:
            return reasoned(*_FILE_SYSTEM[number], f"the file system refused: {error.strerror}")
    for kind, (status, reason) in others.items():
        if isinstance(error, kind):
            return reasoned(status, reason, str(error) or reason.replace("_", " "))
    _log.error("unexpected error", exc_info=error)
    return internal_error()


def response_of(problem: Problem) -> Response:
    """The response for a problem, with its reason and the call's trace id."""
    problem.extra.setdefault("reason", problem.kind.replace("-", "_"))
    return problem_response(problem, diagnostic_ids().get("traceId", ""))
