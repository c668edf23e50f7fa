"""Classifies errors of a model's API, and adds what to do; shared by all CLIs."""

import re
from collections.abc import Sequence

from domain.run.values import ErrorClass, RunError

_SAID_CHARS = 1000
_STATUS = re.compile(r"(?:status|error|http)[^0-9]{0,12}([45]\d\d)\b", re.IGNORECASE)
_BY_STATUS: dict[int, ErrorClass] = {
    401: "auth_missing",
    403: "auth_missing",
    404: "model_refused",
    408: "model_unavailable",
    413: "context_exceeded",
    429: "rate_limited",
}
_CONTEXT = r"prompt is too long|context[_ ](length|window)|maximum context|too many tokens|input is too long"
_BY_WORDS: tuple[tuple[str, ErrorClass], ...] = (
    (r"model.{0,60}(not (found|exist|supported|available)|does not exist|invalid)", "model_refused"),
    (r"selected model|unknown model|no such model|not_found_error", "model_refused"),
    (r"rate.?limit|too many requests|quota|usage limit", "rate_limited"),
    (r"malformed|invalid utf-8|unexpected (token|end)|parse", "protocol"),
    (r"api[_ -]?key|authenticat|unauthori[sz]ed|not logged in|/login|credential|oauth", "auth_missing"),
    (r"overloaded|server.?error|bad gateway|service unavailable|api_error", "model_unavailable"),
    (r"connect|econn|enotfound|timed? ?out|socket|network|stream|terminated|sending request|fetch failed", "network"),
)
_ADVICE: dict[ErrorClass, str] = {
    "auth_missing": "the model refused the credentials of {provider}: mend {credentials} where the control plane runs; "
    "a session takes them up when its worker starts again",
    "model_refused": "the model refused the request: check the run's model and providerOptions",
    "rate_limited": "the model's rate limit: the run is tried again by its retryPolicy; else start it later",
    "context_exceeded": "the conversation is too long for the model: start a run without resumeSessionId, or send less",
    "model_unavailable": "the model's service failed: the run is tried again by its retryPolicy; else start it later",
    "network": "the model could not be reached, or its answer broke off: check its base URL and the worker's network; "
    "the run is tried again by its retryPolicy",
    "protocol": "the model's answer made no sense to the CLI: its base URL must speak the provider's own protocol",
}


def model_error(provider: str, credentials: Sequence[str], said: str, status: int | None = None) -> RunError:
    """The error for a CLI's message about its model; `status` is the HTTP status, else it is taken from the message."""
    error_class = _class_of(said, status if status is not None else _status_in(said))
    advice = _ADVICE[error_class].format(provider=provider, credentials=" or ".join(credentials))
    return RunError(error_class=error_class, message=f"{said.strip()[:_SAID_CHARS]} ({advice})")


def _status_in(said: str) -> int | None:
    found = _STATUS.search(said)
    return int(found.group(1)) if found else None


def _class_of(said: str, status: int | None) -> ErrorClass:
    if re.search(_CONTEXT, said, re.IGNORECASE):
        return "context_exceeded"
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    if status is not None:
        return "model_unavailable" if status >= 500 else "model_refused"
    for words, error_class in _BY_WORDS:
        if re.search(words, said, re.IGNORECASE):
            return error_class
    return "protocol"
