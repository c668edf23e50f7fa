"""Waiting for an aggregate to reach a state that others bring about."""

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

from application.aggregates.aggregates import Aggregates, Loaded
from application.ports.log_tail import LogTail

State = TypeVar("State")
LONGEST_WAIT_S = 5.0
OWN_APPEND_S = 0.02


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
    """The state as soon as `reached` holds for it, or None after `timeout_s` seconds. `seen`: this process has read or
    written the stream just now, and is likely to write it next: its cached state is used, and the stream is read only
    when another process has appended to it."""
    deadline = asyncio.get_running_loop().time() + timeout_s
    loaded = await (aggregates.recent(key) if seen else aggregates.load(key))
    while not reached(loaded.state):
        left = deadline - asyncio.get_running_loop().time()
        if left <= 0:
            return None
        seen_to_be_at = await tail.wait_for_stream(stream, loaded.seq, min(left, LONGEST_WAIT_S))
        before, loaded = loaded, await aggregates.recent(key)
        if seen and loaded.seq < seen_to_be_at:
            # The notification of our own append can arrive before `append` returns and updates the cache.
            await asyncio.sleep(OWN_APPEND_S)
            loaded = await aggregates.recent(key)
        if loaded.seq == before.seq or (loaded.seq < seen_to_be_at and not reached(loaded.state)):
            # Another process has appended, or the wait ran out: look at the log itself.
            loaded = await aggregates.load(key)
    return loaded
