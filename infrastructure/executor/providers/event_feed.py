"""Turns a coroutine that emits events into an async iterator of events, over a bounded queue."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

from domain.event import Event
from domain.run.events import RunAgentFinished

_QUEUED_EVENTS = 64

Emit = Callable[[Event], Awaitable[None]]
"""Emits an event; waits while 64 events are queued."""


async def events_of(work: Callable[[Emit], Awaitable[RunAgentFinished]]) -> AsyncIterator[Event]:
    """The events that `work` emits, then the last one, which it returns. An exception of `work` is raised here; `work`
    is cancelled when the iterator is closed."""
    queue: asyncio.Queue[Event | None] = asyncio.Queue(_QUEUED_EVENTS)

    async def to_its_end() -> RunAgentFinished:
        try:
            finished = await work(queue.put)
        except Exception:
            await queue.put(None)
            raise
        await queue.put(None)
        return finished

    task = asyncio.create_task(to_its_end())
    try:
        while (event := await queue.get()) is not None:
            yield event
        yield await task
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError, Exception):
            await task
