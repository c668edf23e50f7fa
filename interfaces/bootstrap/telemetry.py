"""Composes what a process tells of itself: metrics always, traces, metrics and logs by OTLP where OpenTelemetry's
variables ask for it. Its SDK is imported only then."""

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from prometheus_client.metrics_core import Metric as Family

from application.ports.telemetry import NO_SPANS, NoSpans
from application.task_cancellation import cancel_and_wait
from infrastructure.operations.measured import PrometheusMeasurements
from interfaces.logging import JsonLines
from interfaces.settings import SettingsError
from interfaces.version import __version__

if TYPE_CHECKING:
    from infrastructure.operations.otlp.logs import OtlpLogs
    from infrastructure.operations.otlp.metrics import OtlpMetrics
    from infrastructure.operations.otlp.traces import OtlpTraces

    MakeOtlpMetrics = Callable[..., OtlpMetrics]

SERVICE = "fleetlog"
SIGNALS = ("TRACES", "METRICS", "LOGS")
EXTRA = "OpenTelemetry's packages are not installed: pip install 'fleetlog[otel]'"


@dataclass(frozen=True, kw_only=True)
class Telemetry:
    """`spans`: where spans go; `traces`: whether they go anywhere. `metrics`: makes the export of metrics from
    `collect`, if there is one. `logs`: the export of log lines, if there is one."""

    measurements: PrometheusMeasurements = field(default_factory=PrometheusMeasurements)
    spans: "NoSpans | OtlpTraces" = NO_SPANS
    traces: bool = False
    metrics: "MakeOtlpMetrics | None" = None
    logs: "OtlpLogs | None" = None
    close: Callable[[], None] = lambda: None


def exported_signals(environment: Mapping[str, str]) -> frozenset[str]:
    """Of SIGNALS, those that an endpoint or OTEL_*_EXPORTER=otlp asks for, and that OTEL_*_EXPORTER=none does not turn
    off; none with OTEL_SDK_DISABLED=true. Raises SettingsError for any other exporter, and another protocol."""
    if environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return frozenset()
    found = set()
    for signal in SIGNALS:
        exporter = environment.get(f"OTEL_{signal}_EXPORTER", "").strip().lower()
        if exporter not in {"", "otlp", "none"}:
            raise SettingsError(f"OTEL_{signal}_EXPORTER", f"{exporter!r} is not possible here; otlp and none are.")
        endpoints = ("OTEL_EXPORTER_OTLP_ENDPOINT", f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT")
        if exporter == "none" or not (exporter or any(environment.get(name, "").strip() for name in endpoints)):
            continue
        for name in ("OTEL_EXPORTER_OTLP_PROTOCOL", f"OTEL_EXPORTER_OTLP_{signal}_PROTOCOL"):
            if environment.get(name, "").strip() not in {"", "http/protobuf"}:
                raise SettingsError(name, "only http/protobuf is possible here.")
        found.add(signal)
    return frozenset(found)


@contextmanager
def telemetry(environment: Mapping[str, str]) -> Iterator[Telemetry]:
    """What `open_telemetry` opens; at the end what waits is exported."""
    opened = open_telemetry(environment)
    try:
        yield opened
    finally:
        opened.close()


@asynccontextmanager
async def exporting_metrics(
    telemetry: Telemetry, collect: Callable[[], Awaitable[Sequence[Family]]]
) -> AsyncIterator[None]:
    """Inside, what `collect` gives is exported, if metrics are."""
    if telemetry.metrics is None:
        yield
        return
    task = asyncio.create_task(telemetry.metrics(collect).run(), name="export of metrics")
    try:
        yield
    finally:
        await cancel_and_wait([task])


def open_telemetry(environment: Mapping[str, str]) -> Telemetry:
    """Raises SettingsError for variables of OpenTelemetry that make no sense, and if its packages are missing."""
    signals = exported_signals(environment)
    if not signals:
        return Telemetry()
    try:
        return _exporting(environment, signals)
    except ImportError as error:
        raise SettingsError("OTEL_EXPORTER_OTLP_ENDPOINT", f"{EXTRA} ({error}).") from error


def _exporting(environment: Mapping[str, str], signals: frozenset[str]) -> Telemetry:
    from infrastructure.operations.otlp.origin import resource_of, sampler_of, scope_of

    measurements = PrometheusMeasurements()
    resource = resource_of(SERVICE, __version__, f"{os.uname().nodename}-{os.getpid()}")
    scope = scope_of(__version__)
    traces, metrics, logs = None, None, None
    if "TRACES" in signals:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

        from infrastructure.operations.otlp.traces import OtlpTraces

        try:
            sampler = sampler_of(environment)
        except ValueError as error:
            raise SettingsError("OTEL_TRACES_SAMPLER", str(error)) from error
        traces = OtlpTraces(
            OTLPSpanExporter, resource=resource, scope=scope, sampler=sampler, measurements=measurements
        )
    if "METRICS" in signals:
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter

        from infrastructure.operations.otlp.metrics import OtlpMetrics

        metrics = partial(
            OtlpMetrics,
            OTLPMetricExporter(),
            resource=resource,
            scope=scope,
            measurements=measurements,
            interval_s=_milliseconds(environment, "OTEL_METRIC_EXPORT_INTERVAL", 60_000) / 1000,
        )
    if "LOGS" in signals:
        from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter

        from infrastructure.operations.otlp.logs import OtlpHandler, OtlpLogs

        logs = OtlpLogs(OTLPLogExporter(), resource=resource, version=__version__, measurements=measurements)
        handler = OtlpHandler(logs)
        handler.setFormatter(JsonLines())
        logging.getLogger().addHandler(handler)

    def close() -> None:
        for each in (traces, logs):
            if each is not None:
                each.close()

    return Telemetry(
        measurements=measurements,
        spans=traces or NO_SPANS,
        traces=traces is not None,
        metrics=metrics,
        logs=logs,
        close=close,
    )


def _milliseconds(environment: Mapping[str, str], name: str, default: int) -> int:
    text = environment.get(name, "").strip()
    if not text:
        return default
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 86_400_000):
        raise SettingsError(name, f"{text!r} is not a number of milliseconds.")
    return int(text)
