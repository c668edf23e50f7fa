"""Work that goes on in the background when its caller stops waiting."""

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, TypeVar

Result = TypeVar("Result")

log = logging.getLogger(__name__)
_running: set["asyncio.Task[Any]"] = set()


async def wait_at_most(work: Coroutine[Any, Any, Result], wait_s: float) -> Result | None:
    """The result of `work`; None after `wait_s` seconds. It is never cancelled: it then goes on in the background."""
    task = asyncio.ensure_future(work)
    _running.add(task)
    task.add_done_callback(_ended)
    await asyncio.wait({task}, timeout=wait_s)
    return task.result() if task.done() else None


def _ended(task: "asyncio.Task[Any]") -> None:
    _running.discard(task)
    if not task.cancelled() and task.exception() is not None:
        log.warning("work that outlived its request failed", exc_info=task.exception())
