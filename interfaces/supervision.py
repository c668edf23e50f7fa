"""Runs background tasks until a signal asks the process to stop, or one of them ends."""

import asyncio
import logging
import signal
from collections.abc import AsyncIterator, Coroutine, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TypeVar

from application.task_cancellation import cancel_and_wait

TASKS_END_S = 10.0
log = logging.getLogger(__name__)
Result = TypeVar("Result")


@contextmanager
def stop_signals() -> Iterator[asyncio.Event]:
    """An event that SIGINT or SIGTERM sets; a second signal of the same kind then ends the process at once."""
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
async def running(
    background_tasks: Mapping[str, Coroutine[Any, Any, None]], stop: asyncio.Event
) -> AsyncIterator[None]:
    """Run the tasks, given by name, while inside. A task should never end: if one does, `stop` is set, and its error is
    raised at the end of the block."""
    tasks = [asyncio.create_task(_without_end(name, task), name=name) for name, task in background_tasks.items()]

    def ended(task: asyncio.Task[None]) -> None:
        if not task.cancelled():
            stop.set()

    for task in tasks:
        task.add_done_callback(ended)
    try:
        yield
    finally:
        await cancel_and_wait(tasks, again_after_s=TASKS_END_S)
    for task in tasks:
        if task.done() and not task.cancelled() and (error := task.exception()) is not None:
            raise error


async def unless_stopped(work: Coroutine[Any, Any, Result], stop: asyncio.Event) -> Result | None:
    """What the work gives, or raises; None if `stop` was set before its end: then it is cancelled."""
    working, stopping = asyncio.create_task(work), asyncio.create_task(stop.wait())
    tasks: list[asyncio.Task[Any]] = [working, stopping]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        return working.result() if working.done() else None
    finally:
        await cancel_and_wait([task for task in tasks if not task.done()], again_after_s=TASKS_END_S)


async def _without_end(name: str, task: Coroutine[Any, Any, None]) -> None:
    await task
    raise RuntimeError(f"{name} has ended by itself")
