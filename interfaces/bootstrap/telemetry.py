"""Composes what a process tells of itself: metrics always; traces, metrics and logs by OTLP where OpenTelemetry's
variables ask for it. Its SDK is imported only then."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from prometheus_client.metrics_core import Metric as Family

from application.pace import Pace
from application.ports.telemetry import NO_SPANS, NoSpans
from application.repairs.said import UNCOUNTED, Repairs
from application.task_cancellation import cancel_and_wait
from infrastructure.operations.measured import PrometheusMeasurements
from interfaces.logging import JsonLines
from interfaces.otel_variables import read_otel_variables
from interfaces.settings import SettingsError
from interfaces.version import __version__

if TYPE_CHECKING:
    from infrastructure.operations.otlp.opening import Exports
    from infrastructure.operations.otlp.traces import OtlpTraces

MISSING = (
    "OpenTelemetry's packages are not installed; `pip install 'fleetlog[otel]'` does that, and OTEL_SDK_DISABLED=true "
    "does without them"
)


@dataclass(frozen=True, kw_only=True)
class Telemetry:
    """`spans`: where spans go; `exports`: to a collector, if anything is; `pace`: of both."""

    measurements: PrometheusMeasurements = field(default_factory=PrometheusMeasurements)
    pace: Pace = field(default_factory=Pace)
    spans: "NoSpans | OtlpTraces" = NO_SPANS
    exports: "Exports | None" = None
    repairs: Repairs = UNCOUNTED


@contextmanager
def telemetry(environment: Mapping[str, str]) -> Iterator[Telemetry]:
    """At the end, what waits is exported. Raises SettingsError for variables of OpenTelemetry that make no sense, and
    if its packages are missing."""
    variables, measurements, pace = read_otel_variables(environment), PrometheusMeasurements(), Pace()
    if not variables.signals:
        yield Telemetry(measurements=measurements, repairs=Repairs(measurements))
        return
    try:
        from infrastructure.operations.otlp.opening import open_exports

        exports = open_exports(
            variables.signals,
            sampled=variables.sampled,
            interval_s=variables.interval_s,
            delay_s=variables.delay_s,
            version=__version__,
            instance=f"{os.uname().nodename}-{os.getpid()}",
            measurements=measurements,
            pace=pace,
            log_lines=JsonLines(),
        )
    except ImportError as error:
        raise SettingsError(variables.asked_by, f"{MISSING} ({error}).") from error
    except ValueError as error:
        raise SettingsError(variables.asked_by, f"OpenTelemetry's SDK refuses a value: {error}") from error
    try:
        yield Telemetry(
            measurements=measurements,
            pace=pace,
            spans=exports.traces or NO_SPANS,
            exports=exports,
            repairs=Repairs(measurements),
        )
    finally:
        exports.close()


@asynccontextmanager
async def exporting(telemetry: Telemetry, collect: Callable[[], Awaitable[Sequence[Family]]]) -> AsyncIterator[None]:
    """Inside, spans are exported, and what `collect` gives as metrics, as far as either is."""
    exports = telemetry.exports
    traces = exports.traces if exports is not None else None
    metrics = exports.metrics(collect) if exports is not None and exports.metrics is not None else None
    tasks = [asyncio.create_task(each.run(), name="export of telemetry") for each in (traces, metrics) if each]
    try:
        yield
    finally:
        await cancel_and_wait(tasks)
        if metrics is not None:
            await metrics.finish()
