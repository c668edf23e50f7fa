"""The served metrics on their way to a collector, as OpenTelemetry's own encoder writes them."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.sdk.metrics.export import MetricExporter, MetricExportResult, MetricsData

from application.observation.instruments import Instrument
from application.ports.telemetry import NO_MEASUREMENTS
from application.task_cancellation import cancel_and_wait
from infrastructure.operations.measured import PrometheusMeasurements
from infrastructure.operations.otlp.metrics import OtlpMetrics
from infrastructure.operations.otlp.origin import resource_of, scope_of

SECONDS = Instrument(name="some_seconds", help="h", labels=("outcome",), buckets=(1.0, 5.0))


class Exporter(MetricExporter):
    def __init__(self) -> None:
        super().__init__()
        self.exported = asyncio.Event()
        self.points: dict[str, Any] = {}
        self.calls = 0
        self.result = MetricExportResult.SUCCESS

    def export(self, metrics_data: MetricsData, timeout_millis: float = 0, **_: Any) -> MetricExportResult:
        (of_resource,) = encode_metrics(metrics_data).resource_metrics
        (of_scope,) = of_resource.scope_metrics
        self.points = {metric.name: metric for metric in of_scope.metrics}
        self.calls += 1
        return self.result

    def force_flush(self, timeout_millis: float = 0) -> bool:
        return True

    def shutdown(self, timeout_millis: float = 0, **_: Any) -> None: ...


def made(exporter: Exporter, collect: Callable[[], Awaitable[list[Any]]]) -> OtlpMetrics:
    return OtlpMetrics(
        exporter,
        collect,
        resource=resource_of("1", "one"),
        scope=scope_of("1"),
        measurements=NO_MEASUREMENTS,
        interval_s=0.001,
    )


def exported(measured: PrometheusMeasurements) -> dict[str, Any]:
    async def scene() -> dict[str, Any]:
        exporter, collections = Exporter(), 0

        async def collect() -> list[Any]:
            nonlocal collections
            collections += 1
            if collections == 2:
                exporter.exported.set()
            return list(measured.registry.collect())

        metrics = made(exporter, collect)
        task = asyncio.create_task(metrics.run())
        async with asyncio.timeout(60):
            await exporter.exported.wait()
        await cancel_and_wait([task])
        return exporter.points

    return asyncio.run(scene())


def test_a_histogram_has_each_bucket_by_itself_and_claims_no_least_and_no_greatest_value() -> None:
    measured = PrometheusMeasurements([SECONDS])
    for value in (0.5, 3.0, 4.0, 100.0):
        measured.add(SECONDS, "ok", value=value, trace_id="a" * 32)

    (point,) = exported(measured)["fleetlog_some_seconds"].histogram.data_points

    assert (list(point.explicit_bounds), list(point.bucket_counts)) == ([1.0, 5.0], [1, 2, 1])
    assert (point.count, point.sum) == (4, 107.5)
    assert {"min", "max"} & {field.name for field, _ in point.ListFields()} == set()
    assert {exemplar.trace_id.hex() for exemplar in point.exemplars} == {"a" * 32}


def test_what_was_counted_last_is_exported_when_the_process_ends() -> None:
    measured, exporter = PrometheusMeasurements([SECONDS]), Exporter()
    measured.add(SECONDS, "ok", value=2.0)

    async def collect() -> list[Any]:
        return list(measured.registry.collect())

    asyncio.run(made(exporter, collect).finish())

    (point,) = exporter.points["fleetlog_some_seconds"].histogram.data_points
    assert (point.count, point.sum) == (1, 2.0)


def test_an_end_does_not_wait_for_a_collector_that_was_away_already() -> None:
    exporter = Exporter()
    exporter.result = MetricExportResult.FAILURE

    async def collect() -> list[Any]:
        return []

    async def scene() -> None:
        metrics = made(exporter, collect)
        await metrics.finish()
        await metrics.finish()

    asyncio.run(scene())

    assert exporter.calls == 1
