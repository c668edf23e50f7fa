"""Ports for servers that tests start, and start again: no two processes of a test run are given the same."""

import random
import socket
from contextlib import closing

from tests.support.shared_run import one_at_a_time, run_folder

FIRST, LAST = 10_000, 32_000
"""Below those that the kernel gives to connections (32768 and more on Linux): none can take a port in between."""


def reserved_port() -> int:
    """A port of loopback on which nobody listens."""
    if run_folder() is None:
        return next(port for port in _ports_from(random.randint(FIRST, LAST)) if _is_free(port))
    with one_at_a_time("ports") as folder:
        last = folder / "last"
        start = int(last.read_text()) + 1 if last.exists() else random.randint(FIRST, LAST)
        port = next(port for port in _ports_from(start) if _is_free(port))
        last.write_text(str(port))
        return port


def _ports_from(start: int) -> list[int]:
    return [*range(start, LAST + 1), *range(FIRST, start)]


def _is_free(port: int) -> bool:
    with closing(socket.socket()) as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
