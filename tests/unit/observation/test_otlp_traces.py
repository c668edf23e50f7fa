"""Spans on their way to a collector: bounded, counted, sampled by their trace."""

import asyncio
import threading
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import TraceIdRatioBased

from application.observation.instruments import Instrument
from application.observation.span import Span
from infrastructure.operations.otlp import traces as module
from infrastructure.operations.otlp.origin import resource_of, scope_of
from infrastructure.operations.otlp.traces import OtlpTraces

NOW = datetime(2026, 3, 4, 5, 6, 7, 890123, tzinfo=UTC)


class Counted:
    def __init__(self) -> None:
        self.values: Counter[tuple[str, ...]] = Counter()

    def add(self, instrument: Instrument, *labels: str, value: float = 1.0, trace_id: str = "") -> None:
        self.values[instrument.name, *labels] += int(value)


class Exporter(SpanExporter):
    """`result` of each export; while `open` is not set, exports wait."""

    def __init__(self) -> None:
        self.result, self.spans, self.open = SpanExportResult.SUCCESS, [], threading.Event()
        self.calls = 0
        self.open.set()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.calls += 1
        self.open.wait(30)
        if self.result is SpanExportResult.SUCCESS:
            self.spans += spans
        return self.result


@pytest.fixture
def exporter() -> Exporter:
    return Exporter()


@pytest.fixture
def counted() -> Counted:
    return Counted()


def made(exporter: Exporter, counted: Counted, **options: Any) -> OtlpTraces:
    options = {"sampler": TraceIdRatioBased(1.0)} | options
    resource, scope = resource_of("1", "one"), scope_of("1")
    return OtlpTraces(lambda: exporter, resource=resource, scope=scope, measurements=counted, **options)


def span(trace_id: str = "a" * 32, **values: Any) -> Span:
    return Span(trace_id=trace_id, span_id="b" * 16, name="n", start=NOW, end=NOW, **values)


def test_a_span_keeps_its_ids_times_and_error(exporter: Exporter, counted: Counted) -> None:
    traces = made(exporter, counted)
    traces.take(span(parent_id="c" * 16, error="timeout", attributes={"x": 1}, kind="client"))
    traces.close()

    (exported,) = exporter.spans
    assert exported.context.trace_id == int("a" * 32, 16)
    assert exported.parent.span_id == int("c" * 16, 16)
    assert exported.attributes == {"x": 1, "error.type": "timeout"}
    assert exported.start_time == 1_772_600_767_890_123_000
    assert not exported.status.is_ok
    assert counted.values == {("telemetry_exported", "traces"): 1}


def test_beyond_its_queue_spans_are_dropped_and_counted(exporter: Exporter, counted: Counted) -> None:
    exporter.open.clear()
    traces = made(exporter, counted, queue=10)

    for _ in range(25):
        traces.take(span())
    exporter.open.set()
    traces.close()

    assert counted.values["telemetry_dropped", "traces", "queue_full"] == 15
    assert len(exporter.spans) == 10


def test_a_trace_is_sampled_or_not_by_its_id(exporter: Exporter, counted: Counted) -> None:
    traces = made(exporter, counted, sampler=TraceIdRatioBased(0.5))

    for half in ("0" * 16 + "1" * 16, "0" * 16 + "f" * 16):
        traces.take(span(half))
        asyncio.run(traces.export([span(half), span(half)]))
    traces.close()

    assert [f"{each.context.trace_id:032x}"[16:] for each in exporter.spans] == ["1" * 16] * 3


def test_what_follows_from_the_log_is_with_the_collector_when_the_export_returns(
    exporter: Exporter, counted: Counted
) -> None:
    traces = made(exporter, counted)

    asyncio.run(traces.export([span()] * (module.BATCH + 1)))

    assert len(exporter.spans) == module.BATCH + 1
    traces.close()


def test_after_a_failed_export_the_log_is_followed_on_without_trying_for_a_while(
    exporter: Exporter, counted: Counted
) -> None:
    now = [0.0]
    traces = made(exporter, counted, clock=lambda: now[0])
    exporter.result = SpanExportResult.FAILURE

    for _ in range(3):
        asyncio.run(traces.export([span()]))
    tries = exporter.calls
    now[0], exporter.result = module.PAUSE_S, SpanExportResult.SUCCESS
    asyncio.run(traces.export([span()]))
    traces.close()

    assert tries == 1
    assert len(exporter.spans) == 1
    assert counted.values["telemetry_dropped", "traces", "export_failed"] == 1
    assert counted.values["telemetry_dropped", "traces", "collector_down"] == 2
