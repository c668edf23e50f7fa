"""Async code in plain test functions: `run(coroutine)`."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

Result = TypeVar("Result")


def run(coroutine: Coroutine[Any, Any, Result], *, timeout: float = 60.0) -> Result:
    """Run it to its end in a fresh event loop and return its result; TimeoutError after `timeout` seconds."""

    async def bounded() -> Result:
        async with asyncio.timeout(timeout):
            return await coroutine

    return asyncio.run(bounded())
