"""Cancelling tasks so that they really end.

`asyncio.wait_for` of Python 3.11, which our libraries use, swallows a cancellation that arrives at the same moment as
the result it waits for. Cancelling such a task once and then awaiting it would wait forever.
"""

import asyncio
import logging
from collections.abc import Iterable
from typing import Any

log = logging.getLogger(__name__)
MAX_CANCELS = 20


async def cancel_and_wait(tasks: Iterable[asyncio.Task[Any]], *, again_after_s: float = 1.0) -> None:
    """Cancel the tasks and wait for their end. Exceptions of the tasks are not raised here. A task that has not ended
    `again_after_s` seconds after a cancellation, its time to clean up, is cancelled again, at most 20 times."""
    pending = set(tasks)
    for _ in range(MAX_CANCELS):
        if not pending:
            return
        for task in pending:
            task.cancel()
        done, pending = await asyncio.wait(pending, timeout=again_after_s)
        for task in done:
            if not task.cancelled():
                task.exception()
    log.error(
        "tasks still run after %d cancellations: %s",
        MAX_CANCELS,
        ", ".join(sorted(task.get_name() for task in pending)),
    )
