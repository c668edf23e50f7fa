"""Logs as JSON lines: time, level, message, and what the line is about (traceId, sessionId, runId, effectId).

`log_context` binds these ids for everything that a task logs below it, so that no call has to repeat them.
"""

import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import TextIO

import msgspec

_bound: ContextVar[dict[str, str]] = ContextVar("log_context", default={})  # noqa: B039  # never mutated, only replaced
_ALREADY_TOLD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}


@contextmanager
def log_context(*, trace_id: str = "", session_id: str = "", run_id: str = "", effect_id: str = "") -> Iterator[None]:
    """Bind the ids that are given; the others stay as they were outside."""
    given = {"traceId": trace_id, "sessionId": session_id, "runId": run_id, "effectId": effect_id}
    token = _bound.set({**_bound.get(), **{name: value for name, value in given.items() if value}})
    try:
        yield
    finally:
        _bound.reset(token)


class JsonLines(logging.Formatter):
    """One JSON object per record; `extra` fields are members of it, an exception is the text `exception`."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC),
            "level": record.levelname.lower(),
            "message": record.getMessage(),
            "logger": record.name,
            **_bound.get(),
            **{name: value for name, value in vars(record).items() if name not in _ALREADY_TOLD},
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        try:
            return msgspec.json.encode(line, enc_hook=str).decode()
        except UnicodeEncodeError:  # a file name that isn't UTF-8
            return json.dumps(line, default=str)


def configure_logging(level: str = "INFO", stream: TextIO | None = None) -> None:
    """Send everything that this process logs, the libraries included, to `stream` (stderr) as JSON lines."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonLines())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        library = logging.getLogger(name)
        library.handlers.clear()
        library.propagate = True
    # Every request is counted and logged by our own middleware; these repeat it or tell of each connection.
    for name in ("uvicorn.access", "httpx", "httpcore", "botocore", "urllib3"):
        logging.getLogger(name).setLevel(logging.WARNING)
