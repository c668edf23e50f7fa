"""The trace of the call being served, and log lines as JSON that carry it."""

import logging
import re
import sys
from collections.abc import Mapping
from contextvars import ContextVar
from datetime import UTC, datetime

import msgspec

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


class JsonLines(logging.Formatter):
    """One JSON object a line: time, level, logger, message, the fields of the trace, and `error` with a stack."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, str] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **current_trace(),
        }
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return msgspec.json.encode(line).decode()


def log_to_stderr() -> None:
    """Send all log lines of this process to stderr."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.INFO)
    for noisy in ("asyncio", "uvicorn.error"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
