"""The metrics that `/metrics` serves, on their way to a collector: the same numbers under the same names."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from itertools import pairwise
from typing import Any

from opentelemetry.sdk.metrics import Exemplar
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricExporter,
    MetricExportResult,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.samples import Sample

from application.observation.conventions import SCHEMA_URL
from application.observation.instruments import TELEMETRY_DROPPED, TELEMETRY_EXPORTED
from application.ports.telemetry import Measurements

SIGNAL = "metrics"
CUMULATIVE = AggregationTemporality.CUMULATIVE
NO_SPAN = 0
"""The id that stands for none: the encoder leaves out an exemplar without one."""
UNKNOWN: Any = None
"""The least and the greatest value, which a histogram of prometheus_client does not keep: they are left out."""
CLOSING_S = 5.0
"""For the last export, when the process ends."""
log = logging.getLogger(__name__)


class OtlpMetrics:
    """`run` exports what `collect` gives every `interval_s`, until it is cancelled."""

    def __init__(
        self,
        exporter: MetricExporter,
        collect: Callable[[], Awaitable[Sequence[Family]]],
        *,
        resource: Resource,
        scope: InstrumentationScope,
        measurements: Measurements,
        interval_s: float,
    ) -> None:
        self._exporter, self._collect = exporter, collect
        self._resource, self._scope = resource, scope
        self._measurements, self._interval_s = measurements, interval_s
        self._began = time.time_ns()
        self._reached = True

    async def run(self) -> None:
        while True:
            await asyncio.sleep(self._interval_s)
            try:
                await self._export()
            except Exception:
                log.exception("the metrics could not be exported; trying again")

    async def finish(self) -> None:
        """Export once more what has been counted since, if the collector was there the last time."""
        try:
            if self._reached:
                async with asyncio.timeout(CLOSING_S):
                    await self._export()
        except TimeoutError:
            log.warning("the last metrics are not exported: the process ends, and the collector is slow or away")
        except Exception:
            log.exception("the last metrics could not be exported")
        finally:
            self._exporter.shutdown()

    async def _export(self) -> None:
        metrics = [metric for family in await self._collect() if (metric := self._metric(family)) is not None]
        data = MetricsData(
            [ResourceMetrics(self._resource, [ScopeMetrics(self._scope, metrics, SCHEMA_URL)], SCHEMA_URL)]
        )
        result = await asyncio.to_thread(self._exporter.export, data)
        self._reached = result is MetricExportResult.SUCCESS
        if self._reached:
            self._measurements.add(TELEMETRY_EXPORTED, SIGNAL, value=len(metrics))
        else:
            self._measurements.add(TELEMETRY_DROPPED, SIGNAL, "export_failed", value=len(metrics))

    def _metric(self, family: Family) -> Metric | None:
        now = time.time_ns()
        match family.type:
            case "gauge":
                return Metric(family.name, family.documentation, "", Gauge(self._numbers(family.samples, now)))
            case "counter":
                totals = [sample for sample in family.samples if sample.name.endswith("_total")]
                sums = Sum(self._numbers(totals, now), CUMULATIVE, is_monotonic=True)
                return Metric(f"{family.name}_total", family.documentation, "", sums)
            case "histogram":
                histogram = Histogram(self._histograms(family.samples, now), CUMULATIVE)
                return Metric(family.name, family.documentation, "", histogram)
            case _:
                return None

    def _numbers(self, samples: Iterable[Sample], now: int) -> list[NumberDataPoint]:
        return [
            NumberDataPoint(dict(each.labels), self._began, now, each.value, _exemplars([each])) for each in samples
        ]

    def _histograms(self, samples: Iterable[Sample], now: int) -> list[HistogramDataPoint]:
        """A point for each set of labels: its buckets are cumulative in Prometheus, and each by itself in OTLP."""
        buckets: dict[tuple[tuple[str, str], ...], list[Sample]] = {}
        sums: dict[tuple[tuple[str, str], ...], float] = {}
        for each in samples:
            labels = tuple((name, value) for name, value in each.labels.items() if name != "le")
            if each.name.endswith("_bucket"):
                buckets.setdefault(labels, []).append(each)
            elif each.name.endswith("_sum"):
                sums[labels] = each.value
        points = []
        for labels, of_labels in buckets.items():
            up_to = [0, *(int(each.value) for each in of_labels)]
            points.append(
                HistogramDataPoint(
                    attributes=dict(labels),
                    start_time_unix_nano=self._began,
                    time_unix_nano=now,
                    count=up_to[-1],
                    sum=sums.get(labels, 0.0),
                    bucket_counts=[later - earlier for earlier, later in pairwise(up_to)],
                    explicit_bounds=[float(each.labels["le"]) for each in of_labels[:-1]],
                    min=UNKNOWN,
                    max=UNKNOWN,
                    exemplars=_exemplars(of_labels),
                )
            )
        return points


def _exemplars(samples: Iterable[Sample]) -> list[Exemplar]:
    found = []
    for each in samples:
        exemplar = each.exemplar
        if exemplar is not None and "trace_id" in exemplar.labels:
            at, trace_id = float(exemplar.timestamp or 0.0), int(exemplar.labels["trace_id"], 16)
            found.append(Exemplar({}, exemplar.value, int(at * 1e9), NO_SPAN, trace_id))
    return found
