"""The processes: everything in one, or the API and the workers apart. Each ends cleanly on SIGINT and SIGTERM."""

import asyncio
import logging
import signal
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import replace
from typing import Any

from application.ending_tasks import end_tasks
from interfaces.bootstrap.api import api_application
from interfaces.bootstrap.control_plane import ControlPlane, control_plane
from interfaces.bootstrap.foundation import Foundation, configured_foundation, embedded_foundation
from interfaces.bootstrap.residents import residents
from interfaces.bootstrap.serving import serving
from interfaces.logging import configure_logging
from interfaces.settings import Settings

Announce = Callable[[str, dict[str, str]], None]
RESIDENTS_END_S = 10.0
log = logging.getLogger(__name__)


async def run_everything(settings: Settings, announce: Announce, *, stop_workers: bool) -> int:
    """`fleetlog up`: embedded servers where nothing is configured, the API and the workers. The exit code. At its end
    agents of the `process` runtime go on by themselves, or end with it when `stop_workers` says so."""
    configure_logging()
    with _stop_signals() as stop:
        async with embedded_foundation(settings) as foundation, control_plane(foundation) as plane:
            try:
                async with _served(plane) as url, _working(plane, stop):
                    announce(url, _notes(foundation))
                    await stop.wait()
                    _tell_of_runs(plane, stop_workers=stop_workers)
            finally:
                await (plane.runtime.shutdown() if stop_workers else plane.runtime.end_idle())
    return 0


def _tell_of_runs(plane: ControlPlane, *, stop_workers: bool) -> None:
    if plane.run_worker.under_way and plane.foundation.settings.worker_runtime == "process":
        log.warning(
            "runs under way end with this server, as --stop-workers says"
            if stop_workers
            else "runs under way go on without this server; its next start takes them up again",
            extra={"runs": plane.run_worker.under_way},
        )


async def run_api_alone(settings: Settings, announce: Announce) -> int:
    """`fleetlog api`."""
    configure_logging()
    with _stop_signals() as stop:
        foundation = await configured_foundation(settings)
        async with control_plane(foundation) as plane, _served(plane) as url:
            announce(url, _notes(foundation))
            await stop.wait()
    return 0


async def run_worker_alone(settings: Settings, announce: Announce) -> int:
    """`fleetlog worker`. The executors of its runs go on without it."""
    configure_logging()
    with _stop_signals() as stop:
        foundation = replace(await configured_foundation(settings), serves_api=False)
        async with control_plane(foundation) as plane, _working(plane, stop):
            announce("", _notes(foundation))
            await stop.wait()
    return 0


@contextmanager
def _stop_signals() -> Iterator[asyncio.Event]:
    """Set by SIGINT or SIGTERM; a second one ends the process at once, as if nobody listened."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def asked(number: signal.Signals) -> None:
        loop.remove_signal_handler(number)
        log.info("stopping", extra={"signal": number.name})
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, asked, number)
    try:
        yield stop
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


@asynccontextmanager
async def _served(plane: ControlPlane) -> AsyncIterator[str]:
    settings = plane.foundation.settings
    async with AsyncExitStack() as stack:
        app = await api_application(plane, stack)
        url = await stack.enter_async_context(
            serving(app, host=settings.host, port=settings.port, end_streams=plane.hub.end_streams)
        )
        yield url


@asynccontextmanager
async def _working(plane: ControlPlane, stop: asyncio.Event) -> AsyncIterator[None]:
    """The resident tasks run inside. One that ends, which none ever should, stops the process."""
    tasks = [asyncio.create_task(_resident(name, work), name=name) for name, work in residents(plane).items()]

    def ended(task: asyncio.Task[None]) -> None:
        if not task.cancelled():
            stop.set()

    for task in tasks:
        task.add_done_callback(ended)
    try:
        yield
    finally:
        await end_tasks(tasks, again_after_s=RESIDENTS_END_S)
    for task in tasks:
        if task.done() and not task.cancelled() and (error := task.exception()) is not None:
            raise error


async def _resident(name: str, work: Coroutine[Any, Any, None]) -> None:
    await work
    raise RuntimeError(f"{name} has ended by itself")


def _notes(foundation: Foundation) -> dict[str, str]:
    settings = foundation.settings
    return {
        "home": str(settings.home.absolute()),
        "runtime": settings.worker_runtime,
        "database": "embedded Postgres" if settings.embedded_postgres else "DATABASE_URL",
        "objectStore": f"{foundation.object_store.endpoint}/{foundation.object_store.bucket}",
    }
