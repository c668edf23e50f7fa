"""One LISTEN connection per process, with a timed poll behind it.

Subscribers are also woken once per poll interval and after every reconnect, so a lost connection or notification delays
them by no more than the interval and loses nothing.
"""

import asyncio
import contextlib
import heapq
import logging
from collections.abc import Callable, Iterator
from itertools import count
from typing import Self

import psycopg
from psycopg import sql as identifiers

from application.task_cancellation import cancel_and_wait
from infrastructure.postgres.connections import connect
from infrastructure.postgres.continuity import LogContinuity
from infrastructure.postgres.event_store.errors import LogDiscontinued
from infrastructure.postgres.notifications import Notifications

EVENTS_CHANNEL = "fleetlog_events"
POLL_SECONDS = 1.0
LAST_RETRY_DELAY_SECONDS = 1.0

_logger = logging.getLogger(__name__)


class ChannelSignal:
    """One subscriber's view of a channel."""

    def __init__(self) -> None:
        self._set = asyncio.Event()
        self._set.set()

    async def wait(self, timeout: float) -> bool:
        """True when the channel may have news since the last wait, False after `timeout` seconds without. The first
        wait returns at once: whatever was there before the subscription counts as news."""
        try:
            async with asyncio.timeout(timeout):
                await self._set.wait()
        except TimeoutError:
            return False
        self._set.clear()
        return True

    def wake(self) -> None:
        self._set.set()


class PositionSignal:
    """The end of the log as this process knows it. It only ever grows.

    `follower`, if there is one, is called with each position that becomes known and the announcement that came with it,
    or empty bytes; see infrastructure/postgres/event_store/announcement.py.
    """

    def __init__(self) -> None:
        self.follower: Callable[[int, bytes], None] | None = None
        self._last_position = 0
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []
        self._tickets = count()

    @property
    def last_position(self) -> int:
        return self._last_position

    async def wait_for(self, position_greater_than: int, timeout: float) -> int:
        """The last position, as soon as it is greater than the given one, or after `timeout` seconds whatever it is."""
        if self._last_position <= position_greater_than:
            reached = asyncio.get_running_loop().create_future()
            heapq.heappush(self._waiting, (position_greater_than, next(self._tickets), reached))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timeout):
                    await reached
            self._forget_abandoned()
        return self._last_position

    def advance(self, position: int, announcement: bytes = b"") -> None:
        """The log is known to reach `position`; a position that was known already wakes nobody."""
        if self.follower is not None:
            self.follower(position, announcement)
        if position <= self._last_position:
            return
        self._last_position = position
        while self._waiting and self._waiting[0][0] < position:
            reached = heapq.heappop(self._waiting)[2]
            if not reached.done():
                reached.set_result(None)

    def _forget_abandoned(self) -> None:
        if sum(entry[2].done() for entry in self._waiting) > len(self._waiting) // 2:
            self._waiting = [entry for entry in self._waiting if not entry[2].done()]
            heapq.heapify(self._waiting)


class PostgresListener:
    """Use as an async context manager, or `start` and `close` it.

    `position` follows the log, `continuity` is checked by each poll. `subscribe` listens to any other channel; what is
    subscribed before `start` is listened to from the beginning, later channels within one poll interval.
    """

    def __init__(
        self, dsn: str, *, poll_seconds: float = POLL_SECONDS, continuity: LogContinuity | None = None
    ) -> None:
        self._continuity = continuity or LogContinuity()
        self.position = PositionSignal()
        self._dsn, self._poll_seconds = dsn, poll_seconds
        self._signals: dict[str, list[ChannelSignal]] = {EVENTS_CHANNEL: []}
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def start(self) -> None:
        self._task = asyncio.create_task(self._listen_until_closed())

    async def close(self) -> None:
        if self._task is not None:
            await cancel_and_wait([self._task])
            self._task = None

    @contextlib.contextmanager
    def subscribe(self, channel: str) -> Iterator[ChannelSignal]:
        """A signal that is woken by every NOTIFY on the channel, once per poll interval, and after each reconnect."""
        signal = ChannelSignal()
        self._signals.setdefault(channel, []).append(signal)
        try:
            yield signal
        finally:
            self._signals[channel].remove(signal)

    async def _listen_until_closed(self) -> None:
        delay = 0.0
        while True:
            try:
                async with await connect(self._dsn, self._continuity) as connection:
                    delay = 0.0
                    await self._listen(connection)
            except LogDiscontinued:
                return  # nothing of this log is of use to anyone, and the process ends
            except (psycopg.Error, TimeoutError) as error:
                _logger.warning("the LISTEN connection was lost, connecting again", extra={"error": str(error)})
            except Exception:
                # If this task ended, no subscriber in this process would be woken again, and nothing would report it.
                _logger.exception("listening stopped at an error, connecting again")
            await asyncio.sleep(delay)
            delay = min(2 * delay + 0.05, LAST_RETRY_DELAY_SECONDS)

    async def _listen(self, connection: psycopg.AsyncConnection) -> None:
        listening: set[str] = set()
        # For notifications that arrive together with a statement's result.
        connection.add_notify_handler(lambda notify: self._notified(notify.channel, notify.payload.encode()))
        while True:
            for channel in self._signals.keys() - listening:
                await connection.execute(identifiers.SQL("LISTEN {}").format(identifiers.Identifier(channel)))
                listening.add(channel)
            async with asyncio.timeout(5):
                self.position.advance(await self._continuity.check(connection))
            for channel in list(self._signals):
                self._wake(channel)
            await Notifications(connection.pgconn, self._notified).arrive(self._poll_seconds)

    def _notified(self, channel: str, payload: bytes) -> None:
        if channel == EVENTS_CHANNEL:
            digits, _, announcement = payload.partition(b" ")
            self.position.advance(int(digits), announcement)
        self._wake(channel)

    def _wake(self, channel: str) -> None:
        for signal in self._signals.get(channel, ()):
            signal.wake()
