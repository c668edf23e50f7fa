"""Waiting for a condition by polling. Blocking."""

import time
from collections.abc import Callable

_SHORTEST_PAUSE_S, _LONGEST_PAUSE_S = 0.005, 0.03


def wait_until(condition: Callable[[], bool], timeout_s: float) -> bool:
    """Poll, at least once, until the condition holds; False after `timeout_s` seconds."""
    deadline = time.monotonic() + timeout_s
    pause = _SHORTEST_PAUSE_S
    while not condition():
        left = deadline - time.monotonic()
        if left <= 0:
            return False
        time.sleep(min(pause, left))
        pause = min(pause * 1.2, _LONGEST_PAUSE_S)
    return True
