"""The notifications of a listening connection, as they arrive."""

import asyncio
import contextlib
from collections.abc import Callable

from psycopg.pq.abc import PGconn

from infrastructure.postgres.socket_watch import SocketWatch


class Notifications:
    """Watches the socket for a while and calls `notified` with channel and text, without a turn of the event loop
    between: psycopg's own `notifies()` registers the socket anew for each wait, and wakes a task for each answer."""

    def __init__(self, pgconn: PGconn, notified: Callable[[str, bytes], None]) -> None:
        self._pgconn, self._notified = pgconn, notified
        self._ended: asyncio.Future[None] | None = None

    async def arrive(self, seconds: float) -> None:
        """Deliver notifications for `seconds`. Raises psycopg.OperationalError when the connection is lost, and what
        `notified` raises."""
        self._ended = asyncio.get_running_loop().create_future()
        watch = SocketWatch(self._pgconn)
        self._read()  # what arrived together with earlier statements' results
        watch.readable(self._read)
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._ended
        finally:
            watch.close()

    def _read(self) -> None:
        assert self._ended is not None
        try:
            self._pgconn.consume_input()
            while notification := self._pgconn.notifies():
                self._notified(notification.relname.decode(), notification.extra)
        except Exception as error:  # noqa: BLE001  # raised by `arrive`
            if not self._ended.done():
                self._ended.set_exception(error)
