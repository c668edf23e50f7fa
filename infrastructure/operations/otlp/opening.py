"""Opens the exports that are asked for. OpenTelemetry's exporters read their own variables: endpoint, headers, timeout,
certificate, compression."""

import logging
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial

from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace.sampling import TraceIdRatioBased
from prometheus_client.metrics_core import Metric as Family

from application.pace import Pace
from application.ports.telemetry import Measurements
from infrastructure.operations.otlp.collector_session import CollectorSession
from infrastructure.operations.otlp.logs import OtlpHandler, OtlpLogs
from infrastructure.operations.otlp.metrics import OtlpMetrics
from infrastructure.operations.otlp.origin import resource_of, scope_of
from infrastructure.operations.otlp.traces import OtlpTraces

Collect = Callable[[], Awaitable[Sequence[Family]]]


@dataclass(frozen=True, kw_only=True)
class Exports:
    """`metrics`: makes the export of what is collected. `log_handler`: passes what the process logs to `logs`."""

    traces: OtlpTraces | None = None
    metrics: Callable[[Collect], OtlpMetrics] | None = None
    logs: OtlpLogs | None = None
    log_handler: logging.Handler | None = None

    def close(self) -> None:
        """Export what waits. What the process logs from then on is not exported."""
        if self.traces is not None:
            self.traces.close()
        if self.log_handler is not None:
            logging.getLogger().removeHandler(self.log_handler)
        if self.logs is not None:
            self.logs.close()


def open_exports(
    signals: Collection[str],
    *,
    sampled: float,
    interval_s: float,
    delay_s: float,
    version: str,
    instance: str,
    measurements: Measurements,
    pace: Pace,
    log_lines: logging.Formatter,
) -> Exports:
    """`signals`: of traces, metrics, logs. `sampled`: the part of the traces. `delay_s`: between two
    exports of spans, `interval_s`: of metrics. `log_lines`: makes a line of JSON of what
    the process logs, which is exported from now on."""
    resource, scope = resource_of(version, instance), scope_of(version)
    logs = handler = None
    if "logs" in signals:
        logs = OtlpLogs(
            OTLPLogExporter(session=CollectorSession()), resource=resource, version=version, measurements=measurements
        )
        handler = OtlpHandler(logs)
        handler.setFormatter(log_lines)
        logging.getLogger().addHandler(handler)
    metrics = None
    if "metrics" in signals:
        metrics = partial(
            OtlpMetrics,
            OTLPMetricExporter(session=CollectorSession()),
            resource=resource,
            scope=scope,
            measurements=measurements,
            interval_s=interval_s,
        )
    traces = None
    if "traces" in signals:
        traces = OtlpTraces(
            OTLPSpanExporter(session=CollectorSession()),
            resource=resource,
            scope=scope,
            sampler=TraceIdRatioBased(sampled),
            measurements=measurements,
            delay_s=delay_s,
            pace=pace,
        )
    return Exports(traces=traces, metrics=metrics, logs=logs, log_handler=handler)
