"""Logs as JSON lines: time, level, message, and what the line is about (traceId, sessionId, runId, effectId).

`work_context` binds these ids for everything that a task logs below it, so that no call has to repeat them.
"""

import json
import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TextIO

import msgspec

from application.work_context import bound_ids

Context = Callable[[], Mapping[str, str]]
Redact = Callable[[bytes], bytes]
"""A line of JSON without the secrets in it."""
_ALREADY_TOLD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}


class JsonLines(logging.Formatter):
    """One JSON object per record; `extra` fields are members of it, an exception is the text `exception`. `context`:
    what every line of the present task is about. `redact` may be set as soon as there are secrets to keep out."""

    def __init__(self, context: Context = bound_ids) -> None:
        super().__init__()
        self._context = context
        self.redact: Redact = bytes

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC),
            "level": record.levelname.lower(),
            "message": record.getMessage(),
            "logger": record.name,
            **self._context(),
            **{name: value for name, value in vars(record).items() if name not in _ALREADY_TOLD},
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        try:
            encoded = msgspec.json.encode(line, enc_hook=str)
        except UnicodeEncodeError:  # a file name that isn't UTF-8
            encoded = json.dumps(line, default=str).encode()
        return self.redact(encoded).decode()


def configure_logging(
    level: str = "INFO",
    stream: TextIO | None = None,
    *,
    context: Context = bound_ids,
    quiet: Sequence[str] = (),
) -> None:
    """Send everything that this process logs, the libraries included, to `stream` (stderr) as JSON lines. Of the
    loggers in `quiet` only warnings."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonLines(context))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        library = logging.getLogger(name)
        library.handlers.clear()
        library.propagate = True
    # Every request is counted and logged by our own middleware; these repeat it or tell of each connection.
    for name in ("uvicorn.access", "httpx", "httpcore", "urllib3", *quiet):
        logging.getLogger(name).setLevel(logging.WARNING)


def keep_out_of_logs(redact: Redact) -> None:
    """Whatever this process logs from now on passes `redact` first: the libraries' lines and exceptions, too."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler.formatter, JsonLines):
            handler.formatter.redact = redact
