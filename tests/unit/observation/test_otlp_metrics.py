"""The served metrics on their way to a collector, as OpenTelemetry's own encoder writes them."""

import asyncio
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

    def export(self, metrics_data: MetricsData, timeout_millis: float = 0, **_: Any) -> MetricExportResult:
        (of_resource,) = encode_metrics(metrics_data).resource_metrics
        (of_scope,) = of_resource.scope_metrics
        self.points = {metric.name: metric for metric in of_scope.metrics}
        return MetricExportResult.SUCCESS

    def force_flush(self, timeout_millis: float = 0) -> bool:
        return True

    def shutdown(self, timeout_millis: float = 0, **_: Any) -> None: ...


def exported(measured: PrometheusMeasurements) -> dict[str, Any]:
    async def scene() -> dict[str, Any]:
        exporter, collections = Exporter(), 0

        async def collect() -> list[Any]:
            nonlocal collections
            collections += 1
            if collections == 2:
                exporter.exported.set()
            return list(measured.registry.collect())

        metrics = OtlpMetrics(
            exporter,
            collect,
            resource=resource_of("1", "one"),
            scope=scope_of("1"),
            measurements=NO_MEASUREMENTS,
            interval_s=0.001,
        )
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
