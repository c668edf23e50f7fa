"""Hearing from the event loop that a connection's socket has something to read, or room for more."""

import asyncio
import os
from collections.abc import Callable

from psycopg.pq.abc import PGconn


class SocketWatch:
    """Watches through a descriptor of its own, until `close`. libpq closes the connection's when the server is gone,
    and the next socket may get its number; the event loop, which took the number for watched, would never hear of it.
    """

    def __init__(self, pgconn: PGconn) -> None:
        self._loop = asyncio.get_running_loop()
        self._descriptor = os.dup(pgconn.socket)

    def readable(self, call: Callable[[], None]) -> None:
        """Call it whenever there is something to read, or the connection has ended."""
        self._loop.add_reader(self._descriptor, call)

    def writable(self, call: Callable[[], None] | None) -> None:
        """Call it whenever there is room; None: no more."""
        if call is None:
            self._loop.remove_writer(self._descriptor)
        else:
            self._loop.add_writer(self._descriptor, call)

    def close(self) -> None:
        self._loop.remove_reader(self._descriptor)
        self._loop.remove_writer(self._descriptor)
        os.close(self._descriptor)
