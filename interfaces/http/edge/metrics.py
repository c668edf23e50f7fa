"""Prometheus metrics: HTTP requests, counted here; those that this process has measured; and those that a MetricsSource
collects on each scrape. In OpenMetrics' format, for a scraper that asks for it, they have trace ids as exemplars."""

import logging
from collections.abc import Iterator, Sequence

from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.openmetrics import exposition as open_metrics

from application.ports.operations import Metric, MetricsSource
from application.trace_context import w3c_trace_id

disable_created_metrics()  # type: ignore[no-untyped-call]  # they would be one more series for each metric
log = logging.getLogger(__name__)
PREFIX = "fleetlog_"
OPEN_METRICS = "application/openmetrics-text"
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 600)


class RequestMetrics:
    """Counts requests by route template. By path there would be a time series for every id. `measured`: what else this
    process has counted."""

    def __init__(self, measured: CollectorRegistry | None = None) -> None:
        self._registry = CollectorRegistry()
        self._measured = measured or CollectorRegistry()
        labels = ("method", "route", "status")
        self._requests = Counter(
            f"{PREFIX}http_requests", "Requests by method, route and status.", labels, registry=self._registry
        )
        self._seconds = Histogram(
            f"{PREFIX}http_request_seconds",
            "Seconds from a request to the end of its answer; a stream counts until it ends.",
            ("method", "route"),
            buckets=_BUCKETS,
            registry=self._registry,
        )

    def observe(self, method: str, route: str, status: int, seconds: float, trace_id: str = "") -> None:
        """Count one request. Status 0: the client left before the response began."""
        method = method if method in {"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"} else "other"
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(method, route).observe(seconds, {"trace_id": w3c_trace_id(trace_id)} if trace_id else None)

    async def render(self, source: MetricsSource, accept: str = "") -> tuple[bytes, str]:
        """All metrics, and their content type: Prometheus's text format, or OpenMetrics if `accept` asks for it."""
        collected = _Collected(await self.families(source))
        if OPEN_METRICS in accept.lower():
            text: bytes = open_metrics.generate_latest(collected)  # type: ignore[no-untyped-call]
            return text, open_metrics.CONTENT_TYPE_LATEST
        return generate_latest(collected), CONTENT_TYPE_LATEST

    async def families(self, source: MetricsSource) -> list[Family]:
        """All metrics as they stand."""
        try:
            metrics = await source.collect()
        except Exception:
            # While the database is down a scrape still shows the HTTP requests of this process.
            log.warning("the metrics of the system could not be read", exc_info=True)
            metrics = ()
        return [*self._registry.collect(), *self._measured.collect(), *_families(metrics)]


class _Collected:
    """What an encoder of prometheus_client takes for a registry."""

    def __init__(self, families: Sequence[Family]) -> None:
        self._families = families

    def collect(self) -> Sequence[Family]:
        return self._families


def _families(metrics: Sequence[Metric]) -> Iterator[Family]:
    for metric in metrics:
        kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
        labels = sorted({name for sample in metric.samples for name in sample.labels})
        family = kind(f"{PREFIX}{metric.name}", metric.help, labels=labels)
        for sample in metric.samples:
            family.add_metric([sample.labels.get(name, "") for name in labels], sample.value)
        yield family
