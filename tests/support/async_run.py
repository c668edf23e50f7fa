"""Async code in plain test functions: `run(coroutine)`."""

import asyncio
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

Result = TypeVar("Result")


def run(coroutine: Coroutine[Any, Any, Result], *, timeout: float = 200.0) -> Result:
    """Run it to its end in a fresh event loop and return its result; TimeoutError after `timeout` seconds."""

    async def bounded() -> Result:
        async with asyncio.timeout(timeout):
            return await coroutine

    if asyncio._get_running_loop() is None:
        return asyncio.run(bounded())
    # Playwright keeps a loop of its own in the thread of a process's tests, once one of them has opened a browser.
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, bounded()).result()
