"""Spans on their way to a collector: bounded, counted, sampled by their trace."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import TraceIdRatioBased

from application.observation.instruments import Instrument
from application.observation.span import Span
from application.pace import Pace
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
    """`result`: of each export. `error`: raised instead."""

    def __init__(self) -> None:
        self.result, self.spans, self.calls = SpanExportResult.SUCCESS, [], 0
        self.error: Exception | None = None

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.calls += 1
        if self.error is not None:
            raise self.error
        if self.result is SpanExportResult.SUCCESS:
            self.spans += spans
        return self.result


@pytest.fixture
def exporter() -> Exporter:
    return Exporter()


@pytest.fixture
def counted() -> Counted:
    return Counted()


def made(exporter: Exporter, counted: Counted, *, sampled: float = 1.0, queue: int = module.QUEUE) -> OtlpTraces:
    return OtlpTraces(
        exporter,
        resource=resource_of("1", "one"),
        scope=scope_of("1"),
        sampler=TraceIdRatioBased(sampled),
        measurements=counted,
        delay_s=0.001,
        pace=Pace(),
        queue=queue,
    )


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


def test_beyond_its_queue_spans_are_dropped_and_counted(exporter: Exporter, counted: Counted) -> None:
    traces = made(exporter, counted, queue=10)

    for _ in range(25):
        traces.take(span())
    traces.close()

    assert counted.values["telemetry_dropped", "traces", "queue_full"] == 15
    assert len(exporter.spans) == 10


def test_its_queue_is_emptied_while_it_runs(exporter: Exporter, counted: Counted) -> None:
    async def emptied() -> None:
        traces = made(exporter, counted)
        for _ in range(module.BATCH + 1):
            traces.take(span())
        running = asyncio.create_task(traces.run())
        while len(exporter.spans) <= module.BATCH:
            await asyncio.sleep(0.001)
        running.cancel()

    asyncio.run(emptied())

    assert exporter.calls == 2
    assert counted.values == {("telemetry_exported", "traces"): module.BATCH + 1}


def test_a_trace_is_sampled_or_not_by_its_id(exporter: Exporter, counted: Counted) -> None:
    traces = made(exporter, counted, sampled=0.5)

    for half in ("0" * 16 + "1" * 16, "0" * 16 + "f" * 16):
        traces.take(span(half))
        asyncio.run(traces.export([span(half), span(half)]))
    traces.close()

    assert [f"{each.context.trace_id:032x}"[16:] for each in exporter.spans] == ["1" * 16] * 3


def test_what_follows_from_the_log_is_with_the_collector_when_the_export_returns(
    exporter: Exporter, counted: Counted
) -> None:
    asyncio.run(made(exporter, counted).export([span()] * (module.BATCH + 1)))

    assert len(exporter.spans) == module.BATCH + 1


def test_after_a_failed_export_the_log_is_followed_on_without_trying_for_a_while(
    exporter: Exporter, counted: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now[0], thread_time=float))
    traces = made(exporter, counted)
    exporter.result = SpanExportResult.FAILURE

    async def follow() -> int:
        for _ in range(3):
            await traces.export([span()])
        tries = exporter.calls
        now[0], exporter.result = now[0] + module.PAUSE_S, SpanExportResult.SUCCESS
        await traces.export([span()])
        return tries

    assert asyncio.run(follow()) == 1
    assert len(exporter.spans) == 1
    assert counted.values["telemetry_dropped", "traces", "export_failed"] == 1
    assert counted.values["telemetry_dropped", "traces", "collector_down"] == 2


def test_an_exporter_that_raises_has_failed_and_stops_nothing(exporter: Exporter, counted: Counted) -> None:
    exporter.error = RuntimeError("an exporter's own")

    asyncio.run(made(exporter, counted).export([span()]))

    assert counted.values == {("telemetry_dropped", "traces", "export_failed"): 1}


def test_at_the_end_of_the_process_a_slow_collector_does_not_hold_it_for_long(
    exporter: Exporter, counted: Counted, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    now = iter(range(0, 10_000, 2))
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: next(now), thread_time=float))
    traces = made(exporter, counted)
    for _ in range(module.BATCH * 10):
        traces.take(span())

    traces.close()

    assert 0 < len(exporter.spans) < module.BATCH * 10
    assert f"{module.BATCH * 10 - len(exporter.spans)} spans are not exported" in caplog.text


def test_a_batch_that_cannot_be_encoded_is_counted_and_holds_up_nothing_else(
    exporter: Exporter, counted: Counted
) -> None:
    traces = made(exporter, counted)

    async def scene() -> None:
        exporter.error = ValueError("it has no code")
        await traces.export([span()])
        exporter.error = None
        await traces.export([span()])

    asyncio.run(scene())

    assert counted.values == {
        ("telemetry_dropped", "traces", "export_failed"): 1,
        ("telemetry_exported", "traces"): 1,
    }
