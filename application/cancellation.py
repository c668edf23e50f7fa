"""Cancelling tasks for sure."""

import asyncio
from typing import Any

INSIST_S = 10.0


async def end_tasks(*tasks: "asyncio.Task[Any]", insist_s: float = INSIST_S) -> None:
    """Cancel the tasks and wait until they have ended, whatever they end with. Cancels again after `insist_s` seconds.

    A cancellation can get lost: before Python 3.12 `asyncio.wait_for`, by which psycopg's pool waits for a connection,
    drops one that comes in the very moment in which its wait ends. Whoever waits in a loop then goes on for ever.
    """
    running = set(tasks)
    while running:
        for task in running:
            task.cancel()
        _, running = await asyncio.wait(running, timeout=insist_s)
    for task in tasks:
        if not task.cancelled():
            task.exception()  # seen
