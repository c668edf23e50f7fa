"""What a process observes while it is measured: `none` (no observer), `off` (metrics, as by default) or `on` (traces,
metrics and logs go to a collector)."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from prometheus_client.metrics_core import Metric as Family

from application.ports.telemetry import NO_MEASUREMENTS, NO_SPANS, Measurements
from application.task_cancellation import cancel_and_wait
from infrastructure.postgres.event_store.store import GroupCommitEventStore
from infrastructure.postgres.listener import PostgresListener
from infrastructure.postgres.log_observation import LogObservation
from interfaces.bootstrap.telemetry import exporting, telemetry

MODES = ("none", "off", "on")
EXPORTED = "OTEL_EXPORTER_OTLP_ENDPOINT"


def environment(mode: str, url: str) -> dict[str, str]:
    """OpenTelemetry's variables of a process in this mode."""
    return {EXPORTED: url} if mode == "on" else {}


@asynccontextmanager
async def observing(
    dsn: str, store: GroupCommitEventStore, listener: PostgresListener, mode: str
) -> AsyncIterator[Measurements]:
    """Inside, the log is observed as in a server."""
    if mode == "none":
        yield NO_MEASUREMENTS
        return
    with telemetry(environment(mode, os.environ.get(EXPORTED, ""))) as opened:
        observation = LogObservation(
            dsn=dsn,
            store=store,
            end_of_log=listener.position,
            measurements=opened.measurements,
            spans=opened.spans,
            traces=opened.spans is not NO_SPANS,
            pace=opened.pace,
        )

        async def collect() -> list[Family]:
            return list(opened.measurements.registry.collect())

        task = asyncio.create_task(observation.run())
        async with exporting(opened, collect):
            try:
                yield opened.measurements
            finally:
                await cancel_and_wait([task])
