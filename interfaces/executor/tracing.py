"""The trace of the call being served: log lines and problems carry it."""

import re
from collections.abc import Mapping
from contextvars import ContextVar

_FIELDS = {
    "x-trace-id": "traceId",
    "x-trace-session-id": "sessionId",
    "x-trace-executor-id": "executorId",
    "x-trace-run-id": "runId",
    "x-trace-operation": "operation",
    "x-trace-effect-id": "effectId",
}
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")
_MAX_VALUE = 200
_no_trace: Mapping[str, str] = {}
_trace: ContextVar[Mapping[str, str]] = ContextVar("trace", default=_no_trace)


def current_trace() -> Mapping[str, str]:
    """The fields of the call being served; empty outside of one."""
    return _trace.get()


def enter_trace(headers: Mapping[str, str]) -> None:
    """Read a call's trace headers; log lines and problems of this context carry them from now on."""
    fields = {name: headers[header][:_MAX_VALUE] for header, name in _FIELDS.items() if headers.get(header)}
    found = _TRACEPARENT.fullmatch(headers.get("traceparent", ""))
    if "traceId" not in fields and found is not None:
        fields["traceId"] = found[1]
    _trace.set(fields)
