"""Spans on their way to a collector. What a process does itself waits in a bounded queue; what follows from the log is
exported before the observer's checkpoint moves on."""

import asyncio
import logging
import os
import time
from collections import deque
from collections.abc import Sequence

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import Decision, Sampler
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

from application.observation.conventions import ERROR_TYPE
from application.observation.instruments import TELEMETRY_DROPPED, TELEMETRY_EXPORTED
from application.observation.span import EPOCH, Span, span_id_of
from application.pace import Pace
from application.ports.telemetry import Measurements

SIGNAL = "traces"
QUEUE = 4096
"""Spans that wait for their export; further ones are dropped."""
BATCH = 64
"""Encoding is Python: a larger batch would keep the event loop from its turn for as long."""
PAUSE_S = 30.0
"""After a failed export nothing is tried, and spans are dropped: the log is followed on."""
CLOSING_S = 5.0
"""For the export of what waits when the process ends."""
KINDS = {
    "internal": SpanKind.INTERNAL,
    "server": SpanKind.SERVER,
    "client": SpanKind.CLIENT,
    "producer": SpanKind.PRODUCER,
    "consumer": SpanKind.CONSUMER,
}
SAMPLED = TraceFlags(TraceFlags.SAMPLED)
log = logging.getLogger(__name__)


class OtlpTraces:
    """Implements Spans and SpanExport. `run` empties the queue every `delay_s` until it is cancelled. Exports wait
    where `pace` says that the process has other work."""

    def __init__(
        self,
        exporter: SpanExporter,
        *,
        resource: Resource,
        scope: InstrumentationScope,
        sampler: Sampler,
        measurements: Measurements,
        delay_s: float,
        pace: Pace,
        queue: int = QUEUE,
    ) -> None:
        self._exporter, self._resource, self._scope, self._sampler = exporter, resource, scope, sampler
        self._measurements, self._delay_s, self._pace, self._room = measurements, delay_s, pace, queue
        self._queue: deque[Span] = deque()
        self._one_at_a_time = asyncio.Lock()
        self._paused_until = 0.0

    def id_of(self, name: str) -> str:
        return span_id_of(name)

    def new_id(self) -> str:
        return os.urandom(8).hex()

    def take(self, span: Span) -> None:
        if not self._is_sampled(span):
            return
        if len(self._queue) >= self._room:
            self._measurements.add(TELEMETRY_DROPPED, SIGNAL, "queue_full")
            return
        self._queue.append(span)

    async def run(self) -> None:
        while True:
            await asyncio.sleep(self._delay_s)
            while self._queue:
                await self._export(self._from_queue())

    async def export(self, spans: Sequence[Span]) -> None:
        sampled = [span for span in spans if self._is_sampled(span)]
        for at in range(0, len(sampled), BATCH):
            await self._export(sampled[at : at + BATCH])

    def close(self) -> None:
        """Export what waits, as far as CLOSING_S allow. Blocks for so long, and the exporter's timeout, at most."""
        ends = time.monotonic() + CLOSING_S
        while self._queue and self._paused_until <= time.monotonic() < ends:
            batch = self._from_queue()
            self._count(self._send(batch)[0], len(batch))
        if self._queue:
            log.warning(
                "%d spans are not exported: the process ends, and the collector is slow or away", len(self._queue)
            )
        self._exporter.shutdown()

    def _from_queue(self) -> list[Span]:
        return [self._queue.popleft() for _ in range(min(BATCH, len(self._queue)))]

    async def _export(self, batch: Sequence[Span]) -> None:
        async with self._one_at_a_time:
            if time.monotonic() < self._paused_until:
                self._measurements.add(TELEMETRY_DROPPED, SIGNAL, "collector_down", value=len(batch))
                return
            result, spent_s = await asyncio.to_thread(self._send, batch)
            self._count(result, len(batch))
            await self._pace.rest(spent_s)

    def _send(self, batch: Sequence[Span]) -> tuple[SpanExportResult | None, float]:
        """The result, None where the batch itself can't be exported, and the seconds of processor time that it took."""
        began = time.thread_time()
        result: SpanExportResult | None = None
        try:
            result = self._exporter.export([self._readable(span) for span in batch])
        except Exception:
            log.exception("%d spans could not be exported", len(batch))
        return result, time.thread_time() - began

    def _count(self, result: SpanExportResult | None, number: int) -> None:
        if result is SpanExportResult.SUCCESS:
            self._measurements.add(TELEMETRY_EXPORTED, SIGNAL, value=number)
            return
        self._measurements.add(TELEMETRY_DROPPED, SIGNAL, "export_failed", value=number)
        if result is not None:
            self._paused_until = time.monotonic() + PAUSE_S

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


def _context(trace_id: str, span_id: str, *, is_remote: bool) -> SpanContext:
    return SpanContext(int(trace_id, 16), int(span_id, 16), is_remote, SAMPLED)
