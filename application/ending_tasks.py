"""Ending tasks for sure.

A cancellation can get lost: `asyncio.wait_for` of Python 3.11, which our libraries use, drops one that arrives together
with what it waits for. Whoever cancels a task and then waits for it would wait for ever.
"""

import asyncio
import logging
from collections.abc import Iterable
from typing import Any

log = logging.getLogger(__name__)
MOST_CANCELS = 20


async def end_tasks(tasks: Iterable[asyncio.Task[Any]], *, again_after_s: float = 1.0) -> None:
    """Cancel the tasks, again and again while they have not ended, and wait for their end. What they raise is theirs:
    nothing of it is raised here. `again_after_s` leaves them the time to clear up."""
    pending = set(tasks)
    for _ in range(MOST_CANCELS):
        if not pending:
            return
        for task in pending:
            task.cancel()
        done, pending = await asyncio.wait(pending, timeout=again_after_s)
        for task in done:
            if not task.cancelled():
                task.exception()
    log.error("tasks that were cancelled go on: %s", ", ".join(sorted(task.get_name() for task in pending)))
