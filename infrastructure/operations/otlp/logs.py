"""Log lines on their way to a collector: each as it is written to stderr, with its ids as attributes."""

import logging
import threading
import time
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.context import Context
from opentelemetry.sdk._logs import LoggerProvider, ReadableLogRecord
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor, LogRecordExporter, LogRecordExportResult
from opentelemetry.sdk.resources import Resource
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

from application.observation.instruments import TELEMETRY_DROPPED, TELEMETRY_EXPORTED
from application.ports.telemetry import Measurements
from application.trace_context import w3c_trace_id

SIGNAL = "logs"
QUEUE = 4096
SEVERITIES = {
    "debug": SeverityNumber.DEBUG,
    "info": SeverityNumber.INFO,
    "warning": SeverityNumber.WARN,
    "error": SeverityNumber.ERROR,
    "critical": SeverityNumber.FATAL,
}
NOT_EXPORTED = ("opentelemetry", "urllib3", "requests")
"""Loggers of the export itself: what they log of a failed export would be exported next."""


class OtlpLogs:
    """`write` takes lines of JSON, as interfaces/logging.py makes them, from any thread. `close` exports what waits."""

    def __init__(
        self, exporter: LogRecordExporter, *, resource: Resource, version: str, measurements: Measurements
    ) -> None:
        self._measurements = measurements
        self._waiting = _Waiting()
        self._provider = LoggerProvider(resource, shutdown_on_exit=False)
        counted = _Counted(exporter, measurements, self._waiting)
        self._provider.add_log_record_processor(BatchLogRecordProcessor(counted, max_queue_size=QUEUE))
        self._logger = self._provider.get_logger("fleetlog", version)

    def write(self, line: bytes, **about: str) -> None:
        """`about`: further attributes. Never waits: what has no room is counted."""
        try:
            members = msgspec.json.decode(line, type=dict[str, Any])
        except msgspec.MsgspecError:
            members = {"message": line.decode(errors="replace")}
        level, written_at = str(members.pop("level", "info")), members.pop("time", None)
        ids = str(members.get("traceId") or ""), str(members.get("spanId") or "")
        record = LogRecord(
            timestamp=_nanoseconds(written_at),
            observed_timestamp=time.time_ns(),
            context=_context(*ids),
            severity_text=level,
            severity_number=SEVERITIES.get(level, SeverityNumber.UNSPECIFIED),
            body=str(members.pop("message", "")),
            attributes={name: _attribute(value) for name, value in {**members, **about}.items()},
        )
        # The SDK's queue would drop the oldest line, which no counter of ours would tell.
        if self._waiting.enter():
            self._logger.emit(record)
        else:
            self._measurements.add(TELEMETRY_DROPPED, SIGNAL, "queue_full")

    def write_of(self, line: bytes, session_id: str) -> None:
        """A line of the executor of a session."""
        self.write(line, sessionId=session_id, program="executor")

    def close(self) -> None:
        self._provider.shutdown()


class OtlpHandler(logging.Handler):
    """Passes on what the process logs. Its formatter makes the lines, without secrets."""

    def __init__(self, logs: OtlpLogs) -> None:
        super().__init__()
        self._logs = logs

    def emit(self, record: logging.LogRecord) -> None:
        if record.name.split(".")[0] in NOT_EXPORTED:
            return
        try:
            self._logs.write(self.format(record).encode(errors="replace"))
        except Exception:  # noqa: BLE001  as the other handlers of logging do
            self.handleError(record)


class _Waiting:
    """How many lines are in the queue, for many threads."""

    def __init__(self) -> None:
        self._lock, self._number = threading.Lock(), 0

    def enter(self) -> bool:
        """False if there is no room."""
        with self._lock:
            if self._number >= QUEUE:
                return False
            self._number += 1
            return True

    def leave(self, number: int) -> None:
        with self._lock:
            self._number -= number


class _Counted(LogRecordExporter):
    def __init__(self, exporter: LogRecordExporter, measurements: Measurements, waiting: "_Waiting") -> None:
        self._exporter, self._measurements, self._waiting = exporter, measurements, waiting

    def export(self, batch: Sequence[ReadableLogRecord]) -> LogRecordExportResult:
        self._waiting.leave(len(batch))
        result = self._exporter.export(batch)
        if result is LogRecordExportResult.SUCCESS:
            self._measurements.add(TELEMETRY_EXPORTED, SIGNAL, value=len(batch))
        else:
            self._measurements.add(TELEMETRY_DROPPED, SIGNAL, "export_failed", value=len(batch))
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()  # type: ignore[no-untyped-call]

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._exporter.force_flush(timeout_millis)


def _context(trace_id: str, span_id: str) -> Context | None:
    if not trace_id:
        return None
    of_span = int(span_id, 16) if len(span_id) == 16 else 0
    known = SpanContext(int(w3c_trace_id(trace_id), 16), of_span, is_remote=True, trace_flags=TraceFlags(1))
    return set_span_in_context(NonRecordingSpan(known))


def _attribute(value: object) -> str | int | float | bool:
    return value if isinstance(value, str | int | float | bool) else msgspec.json.encode(value).decode()


def _nanoseconds(time_text: object) -> int:
    try:
        return int(datetime.fromisoformat(str(time_text)).timestamp() * 1e9)
    except ValueError:
        return time.time_ns()
