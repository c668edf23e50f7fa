"""The processes `fleetlog up`, `api` and `worker`. Each ends cleanly on SIGINT and SIGTERM. Each ends by itself, with
LogWentBack, once its log lacks events that it has seen."""

import asyncio
import gc
import logging
import os
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from functools import partial
from typing import Any

from application.ports.event_store import LogWentBack
from interfaces.bootstrap.api import api_application, most_connections
from interfaces.bootstrap.background_tasks import background_tasks
from interfaces.bootstrap.backing import BackingServices, configured_services, embedded_services
from interfaces.bootstrap.control_plane import ControlPlane, control_plane
from interfaces.bootstrap.operations import worker_metrics
from interfaces.bootstrap.telemetry import Telemetry, exporting, telemetry
from interfaces.http.edge.auth import KeyHash
from interfaces.http.edge.metrics import RequestMetrics
from interfaces.http.serving import serving
from interfaces.http.worker_metrics import create_metrics_app
from interfaces.logging import configure_logging
from interfaces.settings import Settings
from interfaces.supervision import running, stop_signals

ReportStart = Callable[[str, dict[str, str]], None]
NOT_READY_S = 5.0
"""How long an API whose log went back still says so at /ready, before it ends."""
log = logging.getLogger(__name__)


async def run_everything(settings: Settings, report_start: ReportStart, *, stop_workers: bool) -> int:
    """`fleetlog up`: embedded servers if none are configured, the API and the background tasks. Returns the exit code.
    At its end, agents of the `process` runtime go on by themselves or, with `stop_workers`, are ended."""
    with _observed(settings) as observed, stop_signals() as stop:
        async with embedded_services(settings, observed.repairs) as backing, control_plane(backing, observed) as plane:
            try:
                async with _served(plane) as url, _working(plane, stop):
                    started(report_start, url, backing)
                    await stop.wait()
                    _warn_of_runs(plane, stop_workers=stop_workers)
            finally:
                await (plane.runtime.shutdown() if stop_workers else plane.runtime.end_idle())
    return 0


def _warn_of_runs(plane: ControlPlane, *, stop_workers: bool) -> None:
    if plane.run_worker.under_way and plane.backing.settings.worker_runtime == "process":
        log.warning(
            "these runs end with this server, as --stop-workers says"
            if stop_workers
            else "these runs go on without this server, and its next start continues them; --stop-workers ends them",
            extra={"runs": plane.run_worker.under_way},
        )


async def run_api_alone(settings: Settings, report_start: ReportStart) -> int:
    """`fleetlog api`."""
    with _observed(settings) as observed, stop_signals() as stop:
        backing = await configured_services(settings, serves_api=True)
        async with control_plane(backing, observed) as plane, _served(plane) as url, running(_watch(plane), stop):
            started(report_start, url, backing)
            await stop.wait()
    return 0


async def run_worker_alone(settings: Settings, report_start: ReportStart) -> int:
    """`fleetlog worker`. Executors go on when it ends."""
    with _observed(settings) as observed, stop_signals() as stop:
        backing = await configured_services(settings, serves_api=False)
        async with control_plane(backing, observed) as plane, _counting(plane), _working(plane, stop):
            started(report_start, "", backing)
            await stop.wait()
    return 0


@contextmanager
def _observed(settings: Settings) -> Iterator[Telemetry]:
    """Logs, metrics and traces of the process. Raises SettingsError."""
    configure_logging(settings.log_level)
    with telemetry(os.environ) as opened:
        yield opened


@asynccontextmanager
async def _counting(plane: ControlPlane) -> AsyncIterator[None]:
    """What a process without the API has counted can be scraped, and is exported, where the settings say so."""
    settings, counted = plane.backing.settings, RequestMetrics(plane.telemetry.measurements.registry)
    source = worker_metrics(plane)
    async with AsyncExitStack() as stack:
        collect = partial(counted.families, source)
        await stack.enter_async_context(exporting(plane.telemetry, collect))
        if settings.metrics_port is not None:
            keys = tuple(KeyHash(name=key.name, sha256=key.sha256) for key in settings.api_keys)
            app = create_metrics_app(counted, source, keys)
            port = settings.metrics_port
            await stack.enter_async_context(serving(app, host=settings.host, port=port, end_streams=_no_streams))
        yield


def _no_streams() -> None:
    """There are none to end."""


@asynccontextmanager
async def _working(plane: ControlPlane, stop: asyncio.Event) -> AsyncIterator[None]:
    """The background tasks run inside. Raises LogWentBack, whatever else a task ended for."""
    try:
        async with running(background_tasks(plane) | _watch(plane), stop):
            yield
    except Exception:
        plane.continuity.require_unbroken()
        raise


def _watch(plane: ControlPlane) -> dict[str, Coroutine[Any, Any, None]]:
    tasks = {"log continuity": plane.continuity.until_broken()}
    if plane.store_server is not None:
        tasks["store server"] = plane.store_server.until_ended()
    return tasks


@asynccontextmanager
async def _served(plane: ControlPlane) -> AsyncIterator[str]:
    """The API is served inside, and after a LogWentBack for NOT_READY_S more, not ready."""
    settings = plane.backing.settings
    async with AsyncExitStack() as stack:
        app = await api_application(plane, stack)
        url = await stack.enter_async_context(
            serving(
                app,
                host=settings.host,
                port=settings.port,
                end_streams=plane.hub.end_streams,
                max_connections=most_connections(settings),
            )
        )
        try:
            yield url
        except LogWentBack:
            await asyncio.sleep(NOT_READY_S)
            raise


def started(report_start: ReportStart, url: str, backing: BackingServices) -> None:
    # What the start has made stays until the end. A full garbage collection that looked through all of it again would
    # hold up everybody for a tenth of a second or more.
    gc.freeze()
    report_start(url, _notes(backing))


def _notes(backing: BackingServices) -> dict[str, str]:
    settings = backing.settings
    return {
        "home": str(settings.home.absolute()),
        "runtime": settings.worker_runtime,
        "database": "embedded Postgres" if settings.embedded_postgres else "DATABASE_URL",
        "objectStore": f"{backing.object_store.endpoint}/{backing.object_store.bucket}",
    }
