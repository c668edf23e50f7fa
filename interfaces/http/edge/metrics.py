"""Prometheus metrics: HTTP requests, counted here, and those that a MetricsSource collects on each scrape."""

import logging
from collections.abc import Iterator, Sequence

from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric as Family

from application.ports.operations import Metric, MetricsSource

disable_created_metrics()  # type: ignore[no-untyped-call]  # they would be one more series for each metric
log = logging.getLogger(__name__)
PREFIX = "fleetlog_"
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 600)


class RequestMetrics:
    """Counts requests by route template. By path there would be a time series for every id."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
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

    def observe(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one request. Status 0: the client left before the response began."""
        method = method if method in {"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"} else "other"
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(method, route).observe(seconds)

    async def render(self, source: MetricsSource) -> tuple[bytes, str]:
        """All metrics in Prometheus's text format, and its content type."""
        try:
            metrics = await source.collect()
        except Exception:
            # While the database is down a scrape still shows the HTTP requests of this process.
            log.warning("the metrics of the system could not be read", exc_info=True)
            metrics = ()
        scrape = CollectorRegistry()
        scrape.register(_Families(metrics))
        return generate_latest(self._registry) + generate_latest(scrape), CONTENT_TYPE_LATEST


class _Families:
    """A prometheus_client collector of the metrics of one scrape."""

    def __init__(self, metrics: Sequence[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Family]:
        for metric in self._metrics:
            kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
            labels = sorted({name for sample in metric.samples for name in sample.labels})
            family = kind(f"{PREFIX}{metric.name}", metric.help, labels=labels)
            for sample in metric.samples:
                family.add_metric([sample.labels.get(name, "") for name in labels], sample.value)
            yield family
