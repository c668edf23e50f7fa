"""Logs as JSON lines: time, level, message, and the ids that the line is about (traceId, sessionId, runId, effectId).

`diagnostic_context` binds these ids for everything that a task logs below it, so that no call has to repeat them.
"""

import json
import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import TextIO

import msgspec

from application.diagnostic_context import diagnostic_ids

Context = Callable[[], Mapping[str, str]]
Redact = Callable[[bytes], bytes]
"""Takes a line of JSON and returns it without secrets."""
_STANDARD_ATTRIBUTES = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}


class JsonLines(logging.Formatter):
    """One JSON object per record; `extra` fields are its members, a traceback is its member `exception`. `context`
    returns members for every line of the current task. `redact` is applied to each line, and may be set later."""

    def __init__(self, context: Context = diagnostic_ids) -> None:
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
            **{name: value for name, value in vars(record).items() if name not in _STANDARD_ATTRIBUTES},
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
    context: Context = diagnostic_ids,
    quiet: Sequence[str] = (),
) -> None:
    """Write all logs of this process, those of libraries included, to `stream` (stderr by default) as JSON lines; from
    the loggers in `quiet`, only warnings and errors."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonLines(context))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        library = logging.getLogger(name)
        library.handlers.clear()
        library.propagate = True
    # Our own middleware logs every request; these repeat it, or log each connection.
    for name in ("uvicorn.access", "httpx", "httpcore", "urllib3", *quiet):
        logging.getLogger(name).setLevel(logging.WARNING)


def also_log_to(handler: logging.Handler) -> Callable[[], None]:
    """Everything that this process logs goes to `handler`, too, until the returned function is called."""
    root = logging.getLogger()
    root.addHandler(handler)
    return partial(root.removeHandler, handler)


def keep_out_of_logs(redact: Redact) -> None:
    """From now on `redact` every line that this process logs, those of libraries and exceptions included."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler.formatter, JsonLines):
            handler.formatter.redact = redact
