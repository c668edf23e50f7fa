"""What a call of an executor tells: a client span, its seconds and its outcome, for each attempt."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import urlsplit

from application.diagnostic_context import diagnostic_ids
from application.executor_protocol import TAKE_LOG
from application.observation import conventions as c
from application.observation import instruments as i
from application.observation.span import Span, Value, in_order
from application.ports.executor import ExecutorError
from application.ports.telemetry import NO_MEASUREMENTS, NO_SPANS, Measurements, Spans
from application.trace_context import new_trace_id, valid_trace_id, w3c_trace_id

UNTRACED = frozenset({TAKE_LOG.operation})
"""Calls that nothing but the export of logs leads to: each would be a trace of its own, of each executor, every few
seconds."""


@dataclass
class ObservedCall:
    """One attempt. `span_id`: empty where no spans are taken."""

    trace_id: str
    span_id: str
    status: int = 0


@dataclass(frozen=True)
class ObservedCalls:
    spans: Spans = field(default=NO_SPANS)
    measurements: Measurements = field(default=NO_MEASUREMENTS)

    @contextmanager
    def attempt(self, operation: str, method: str, base_url: str, number: int) -> Iterator[ObservedCall]:
        """The attempt `number` (from 1) of a call, below the span of the current task. Raises what the call raises."""
        bound = diagnostic_ids()
        span_id = "" if operation in UNTRACED else self.spans.new_id()
        call = ObservedCall(valid_trace_id(bound.get("traceId", "")) or new_trace_id(), span_id)
        began, outcome = datetime.now(UTC), "canceled"
        if number > 1:
            self.measurements.add(i.EXECUTOR_CALL_RETRIES, operation)
        try:
            yield call
            outcome = "ok"
        except ExecutorError as error:
            outcome = "refused" if error.is_refusal else error.kind
            call.status = error.status or 0
            raise
        finally:
            start, end = in_order(began, datetime.now(UTC))
            trace = w3c_trace_id(call.trace_id)
            self.measurements.add(
                i.EXECUTOR_CALL_SECONDS, operation, outcome, value=(end - start).total_seconds(), trace_id=trace
            )
            if call.span_id:
                about = _about(operation, method, base_url, number, call.status)
                self.spans.take(
                    Span(
                        trace_id=trace,
                        span_id=call.span_id,
                        parent_id=bound.get("spanId", ""),
                        name=f"executor {operation}",
                        kind="client",
                        start=start,
                        end=end,
                        attributes=about,
                        error="" if outcome == "ok" else outcome,
                    )
                )


def _about(operation: str, method: str, base_url: str, number: int, status: int) -> dict[str, Value]:
    server = urlsplit(base_url)
    about: dict[str, Value] = {
        c.EXECUTOR_OPERATION: operation,
        c.HTTP_REQUEST_METHOD: method,
        c.SERVER_ADDRESS: server.hostname or "",
    }
    optional = {
        c.SERVER_PORT: server.port or 0,
        c.HTTP_RESPONSE_STATUS_CODE: status,
        c.HTTP_REQUEST_RESEND_COUNT: number - 1,
    }
    return about | {name: value for name, value in optional.items() if value}
