"""Waiting for an aggregate to reach a state that others bring about."""

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

from application.aggregates import Aggregates, Loaded
from application.ports import LogTail

State = TypeVar("State")
LONGEST_WAIT_S = 5.0


async def wait_for_state(
    aggregates: Aggregates[State, Any],
    tail: LogTail,
    *,
    key: str,
    stream: str,
    reached: Callable[[State | None], bool],
    timeout_s: float,
    seen: bool = False,
) -> Loaded[State] | None:
    """The fold as soon as `reached` holds for its state, or None after `timeout_s` seconds. `seen`: this process has
    read or written the stream just now, so that it needs no reading before it goes on."""
    deadline = asyncio.get_running_loop().time() + timeout_s
    loaded = await (aggregates.recent(key) if seen else aggregates.load(key))
    while not reached(loaded.state):
        left = deadline - asyncio.get_running_loop().time()
        if left <= 0:
            return None
        await tail.wait_for_stream(stream, loaded.seq, min(left, LONGEST_WAIT_S))
        before, loaded = loaded, await aggregates.recent(key)
        if loaded.seq == before.seq or not reached(loaded.state):
            # It was not this process that went on.
            loaded = await aggregates.load(key)
    return loaded
