"""Callbacks of the event loop when a connection's socket is readable or writable."""

import asyncio
import os
from collections.abc import Callable

from psycopg.pq.abc import PGconn


class SocketWatch:
    """Watches a duplicate of the socket's descriptor, until `close`. libpq closes its own when the server is gone, and
    the next socket may get the same number; the event loop would take it as registered and never report its events.
    """

    def __init__(self, pgconn: PGconn) -> None:
        self._loop = asyncio.get_running_loop()
        self._descriptor = os.dup(pgconn.socket)

    def readable(self, call: Callable[[], None]) -> None:
        """Call `call` whenever there is something to read, or the connection has ended."""
        self._loop.add_reader(self._descriptor, call)

    def writable(self, call: Callable[[], None] | None) -> None:
        """Call `call` whenever there is room to write; None ends that."""
        if call is None:
            self._loop.remove_writer(self._descriptor)
        else:
            self._loop.add_writer(self._descriptor, call)

    def close(self) -> None:
        self._loop.remove_reader(self._descriptor)
        self._loop.remove_writer(self._descriptor)
        os.close(self._descriptor)
