"""Counters and histograms of this process, in a registry of prometheus_client, with trace ids as exemplars."""

from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Counter, Histogram

from application.observation.instruments import INSTRUMENTS, Instrument

PREFIX = "fleetlog_"


class PrometheusMeasurements:
    """Implements Measurements."""

    def __init__(self, instruments: Sequence[Instrument] = INSTRUMENTS) -> None:
        self.registry = CollectorRegistry()
        self._metrics: dict[str, Counter | Histogram] = {each.name: self._made(each) for each in instruments}

    def add(self, instrument: Instrument, *labels: str, value: float = 1.0, trace_id: str = "") -> None:
        metric = self._metrics[instrument.name]
        series = metric.labels(*labels) if labels else metric
        exemplar = {"trace_id": trace_id} if trace_id else None
        if isinstance(series, Counter):
            series.inc(value, exemplar)
        else:
            series.observe(value, exemplar)

    def _made(self, instrument: Instrument) -> Counter | Histogram:
        name = f"{PREFIX}{instrument.name}"
        if instrument.kind == "counter":
            return Counter(name, instrument.help, instrument.labels, registry=self.registry)
        return Histogram(name, instrument.help, instrument.labels, registry=self.registry, buckets=instrument.buckets)
