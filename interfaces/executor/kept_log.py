"""The end of this executor's log, kept in memory for its callers: a control plane may be on another machine than what
has the rest."""

import logging
from collections import deque

import msgspec

from application.executor_protocol import MAX_KEPT_LOG_BYTES, MAX_KEPT_LOG_LINES, LogLines
from interfaces.logging import JsonLines


class KeptLog(logging.Handler):
    """Keeps the last lines, within both limits. `take` gives each line once, `read` what is there."""

    def __init__(self, most_lines: int = MAX_KEPT_LOG_LINES, most_bytes: int = MAX_KEPT_LOG_BYTES) -> None:
        super().__init__()
        self.setFormatter(JsonLines())
        self._most_lines, self._most_bytes = most_lines, most_bytes
        self._lines: deque[bytes] = deque()
        self._bytes = self._first = self._taken = 0

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self.format(record).encode(errors="replace")
        except Exception:  # noqa: BLE001  as the other handlers of logging do
            self.handleError(record)
            return
        self._lines.append(line)
        self._bytes += len(line)
        while self._lines and (len(self._lines) > self._most_lines or self._bytes > self._most_bytes):
            self._bytes -= len(self._lines.popleft())
            self._first += 1

    def read(self) -> LogLines:
        assert self.lock is not None
        with self.lock:
            return LogLines(lines=tuple(map(msgspec.Raw, self._lines)), lost=self._first)

    def take(self) -> LogLines:
        """Those since the last call."""
        assert self.lock is not None
        with self.lock:
            begin = max(self._taken, self._first)
            lines, lost = list(self._lines)[begin - self._first :], begin - self._taken
            self._taken = self._first + len(self._lines)
        return LogLines(lines=tuple(map(msgspec.Raw, lines)), lost=lost)
