"""Spans on their way to a collector. What a process does itself waits in a bounded queue, which a thread empties; what
follows from the log is exported before the observer's checkpoint moves on."""

import asyncio
import os
import threading
import time
from collections.abc import Callable, Sequence

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import Decision, Sampler
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

from application.observation.conventions import ERROR_TYPE
from application.observation.instruments import TELEMETRY_DROPPED, TELEMETRY_EXPORTED
from application.observation.span import EPOCH, Span, span_id_of
from application.ports.telemetry import Measurements

SIGNAL = "traces"
QUEUE = 4096
"""Spans that wait for the thread; further ones are dropped."""
BATCH = 512
PAUSE_S = 30.0
"""After a failed export from the log: the log is followed on, and spans are dropped, until the next try."""
KINDS = {
    "internal": SpanKind.INTERNAL,
    "server": SpanKind.SERVER,
    "client": SpanKind.CLIENT,
    "producer": SpanKind.PRODUCER,
    "consumer": SpanKind.CONSUMER,
}
SAMPLED = TraceFlags(TraceFlags.SAMPLED)


class OtlpTraces:
    """Implements Spans and SpanExport. `exporter`: makes one, for each of the two ways."""

    def __init__(
        self,
        exporter: Callable[[], SpanExporter],
        *,
        resource: Resource,
        scope: InstrumentationScope,
        sampler: Sampler,
        measurements: Measurements,
        queue: int = QUEUE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._resource, self._scope, self._sampler = resource, scope, sampler
        self._measurements, self._room, self._clock = measurements, queue, clock
        self._queued = _Counted(exporter(), measurements)
        self._from_log = _Counted(exporter(), measurements)
        self._processor = BatchSpanProcessor(self._queued, max_queue_size=queue + BATCH, max_export_batch_size=BATCH)
        self._paused_until = 0.0

    def id_of(self, name: str) -> str:
        return span_id_of(name)

    def new_id(self) -> str:
        return os.urandom(8).hex()

    def take(self, span: Span) -> None:
        if not self._is_sampled(span):
            return
        if not self._queued.make_room(self._room):
            self._measurements.add(TELEMETRY_DROPPED, SIGNAL, "queue_full")
            return
        self._processor.on_end(self._readable(span))

    async def export(self, spans: Sequence[Span]) -> None:
        sampled = [self._readable(span) for span in spans if self._is_sampled(span)]
        for at in range(0, len(sampled), BATCH):
            batch = sampled[at : at + BATCH]
            if self._clock() < self._paused_until:
                self._measurements.add(TELEMETRY_DROPPED, SIGNAL, "collector_down", value=len(batch))
            elif await asyncio.to_thread(self._from_log.export, batch) is not SpanExportResult.SUCCESS:
                self._paused_until = self._clock() + PAUSE_S

    def close(self) -> None:
        """Export what waits, within the exporter's timeout."""
        self._processor.shutdown()  # type: ignore[no-untyped-call]
        self._from_log.shutdown()

    def _is_sampled(self, span: Span) -> bool:
        decided = self._sampler.should_sample(None, int(span.trace_id, 16), span.name)
        return decided.decision is Decision.RECORD_AND_SAMPLE

    def _readable(self, span: Span) -> ReadableSpan:
        return ReadableSpan(
            name=span.name,
            context=_context(span.trace_id, span.span_id, is_remote=False),
            parent=_context(span.trace_id, span.parent_id, is_remote=True) if span.parent_id else None,
            resource=self._resource,
            attributes={**span.attributes, ERROR_TYPE: span.error} if span.error else dict(span.attributes),
            kind=KINDS[span.kind],
            status=Status(StatusCode.ERROR) if span.error else Status(StatusCode.UNSET),
            start_time=round((span.start - EPOCH).total_seconds() * 1_000_000) * 1000,
            end_time=round((span.end - EPOCH).total_seconds() * 1_000_000) * 1000,
            instrumentation_scope=self._scope,
        )


class _Counted(SpanExporter):
    """Counts what an exporter has taken, and what waits for it."""

    def __init__(self, exporter: SpanExporter, measurements: Measurements) -> None:
        self._exporter, self._measurements = exporter, measurements
        self._lock, self._waiting = threading.Lock(), 0

    def make_room(self, most: int) -> bool:
        """Whether one more may wait; it counts from now on."""
        with self._lock:
            if self._waiting >= most:
                return False
            self._waiting += 1
            return True

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        with self._lock:
            self._waiting = max(self._waiting - len(spans), 0)
        result = self._exporter.export(spans)
        if result is SpanExportResult.SUCCESS:
            self._measurements.add(TELEMETRY_EXPORTED, SIGNAL, value=len(spans))
        else:
            self._measurements.add(TELEMETRY_DROPPED, SIGNAL, "export_failed", value=len(spans))
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()


def _context(trace_id: str, span_id: str, *, is_remote: bool) -> SpanContext:
    return SpanContext(int(trace_id, 16), int(span_id, 16), is_remote, SAMPLED)
