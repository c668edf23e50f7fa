"""Group commit for callers of one event loop: a bounded queue, and connections that empty it batch by batch.

A lost connection leaves a commit in doubt. The batch is then sent again over a new one: what was committed is found by
its event ids, what was not is written now. Nothing is ever guessed.
"""

import asyncio
import logging
from collections import deque
from typing import Any

import psycopg

import sql
from application.ports import AppendResult
from infrastructure.eventstore import binary_arrays
from infrastructure.eventstore.batch import Answer, AppendRequest, Gathering, Outcome, answer, outcomes, parameters
from infrastructure.postgres.sessions import STATEMENT_TIMEOUT_SECONDS, connect

MAX_BATCH_EVENTS = 1_000
MAX_BATCH_BYTES = 8 * 1024 * 1024
MAX_QUEUED_REQUESTS = 10_000
MAX_QUEUED_BYTES = 64 * 1024 * 1024
RETRY_SECONDS = 30.0
FIRST_RETRY_DELAY_SECONDS = 0.05
LAST_RETRY_DELAY_SECONDS = 1.0
DRAIN_SECONDS = 40.0

_logger = logging.getLogger(__name__)


class EventStoreUnavailable(Exception):
    """The database could not be reached within the time limit. The events may have been written: appending them again
    with the same event ids is safe and tells."""


class EventStoreClosed(Exception):
    """The store takes no more appends."""


class _Waiting:
    __slots__ = ("future", "request")

    def __init__(self, request: AppendRequest, future: asyncio.Future[AppendResult]) -> None:
        self.request, self.future = request, future


class GroupCommit:
    """Start and close it on the event loop of its callers. `in_flight`: how many batches may be under way at once, each
    on a connection of its own."""

    def __init__(self, dsn: str, *, tenant: str, in_flight: int = 1, retry_seconds: float = RETRY_SECONDS) -> None:
        self._dsn, self._tenant, self._in_flight, self._retry_seconds = dsn, tenant, in_flight, retry_seconds
        self._queue: deque[_Waiting] = deque()
        self._queued_bytes = 0
        self._blocked: deque[asyncio.Future[None]] = deque()
        self._arrived = asyncio.Event()
        self._closing = True
        self._committers: list[asyncio.Task[None]] = []

    def start(self) -> None:
        self._closing = False
        self._committers = [asyncio.create_task(self._committer()) for _ in range(self._in_flight)]

    async def close(self) -> None:
        """Commit what is queued, for 40 seconds at most; then fail what is left."""
        self._closing = True
        self._arrived.set()
        if self._committers:
            _, unfinished = await asyncio.wait(self._committers, timeout=DRAIN_SECONDS)
            for task in unfinished:
                task.cancel()
            await asyncio.gather(*self._committers, return_exceptions=True)
            self._committers = []
        for waiting in self._queue:
            _fail(waiting, EventStoreClosed("the event store was closed before this append could be written"))
        self._queue.clear()

    async def append(self, request: AppendRequest) -> AppendResult:
        """Waits for room in the queue, then for the commit. Raises ExpectedSeqConflict, EventStoreUnavailable or
        EventStoreClosed."""
        while self._is_full(request):
            room = asyncio.get_running_loop().create_future()
            self._blocked.append(room)
            await room
        if self._closing:
            raise EventStoreClosed("the event store is closed")
        waiting = _Waiting(request, asyncio.get_running_loop().create_future())
        self._queue.append(waiting)
        self._queued_bytes += request.size
        self._arrived.set()
        return await waiting.future

    async def _committer(self) -> None:
        link = _Link(self._dsn)
        try:
            while self._queue or not self._closing:
                batch = self._take_batch()
                if batch:
                    await self._commit(batch, link)
                elif not self._queue:
                    self._arrived.clear()
                    await self._arrived.wait()
        finally:
            await link.close()

    def _take_batch(self) -> list[_Waiting]:
        gathering = Gathering(MAX_BATCH_EVENTS, MAX_BATCH_BYTES)
        batch: list[_Waiting] = []
        while self._queue:
            waiting = self._queue[0]
            if not waiting.future.done():
                if not gathering.takes(waiting.request):
                    break
                batch.append(waiting)
            self._queue.popleft()
            self._queued_bytes -= waiting.request.size
        while self._blocked:
            room = self._blocked.popleft()
            if not room.done():
                room.set_result(None)
        return batch

    def _is_full(self, request: AppendRequest) -> bool:
        queued = len(self._queue)
        return queued >= MAX_QUEUED_REQUESTS or (queued > 0 and self._queued_bytes + request.size > MAX_QUEUED_BYTES)

    async def _commit(self, batch: list[_Waiting], link: "_Link") -> None:
        requests = [waiting.request for waiting in batch]
        arguments = parameters(self._tenant, requests)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._retry_seconds
        delay = FIRST_RETRY_DELAY_SECONDS
        in_doubt = False
        while True:
            try:
                answered = await link.execute(arguments)
            except (psycopg.OperationalError, psycopg.InterfaceError, TimeoutError) as error:
                in_doubt = True
                await link.close()
                if loop.time() + delay > deadline:
                    _fail_all(batch, EventStoreUnavailable(f"the append could not be written: {error}"))
                    return
                _logger.warning("append failed, trying again", extra={"error": str(error), "requests": len(batch)})
                await asyncio.sleep(delay)
                delay = min(2 * delay, LAST_RETRY_DELAY_SECONDS)
            except psycopg.Error as error:
                if len(batch) == 1:
                    _fail_all(batch, error)
                else:
                    for waiting in batch:  # one of them is at fault; the others must not suffer
                        await self._commit([waiting], link)
                return
            except asyncio.CancelledError:
                _fail_all(batch, EventStoreClosed("the event store was closed while this append was under way"))
                raise
            else:
                _settle(batch, outcomes(requests, answered, in_doubt=in_doubt))
                return


class _Link:
    """A connection that is made when it is needed."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._connection: psycopg.AsyncConnection | None = None

    async def execute(self, arguments: tuple[Any, ...]) -> Answer:
        async with asyncio.timeout(STATEMENT_TIMEOUT_SECONDS + 5):
            if self._connection is None:
                self._connection = await connect(self._dsn)
                self._connection.prepare_threshold = 0
                binary_arrays.register(self._connection.adapters)
            cursor = await self._connection.execute(sql.query("append_events"), arguments)
            row = await cursor.fetchone()
        assert row is not None
        return answer(row[0])

    async def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()


def _settle(batch: list[_Waiting], results: list[Outcome]) -> None:
    for waiting, outcome in zip(batch, results, strict=True):
        if isinstance(outcome, Exception):
            _fail(waiting, outcome)
        elif not waiting.future.done():
            waiting.future.set_result(outcome)


def _fail_all(batch: list[_Waiting], error: Exception) -> None:
    for waiting in batch:
        _fail(waiting, error)


def _fail(waiting: _Waiting, error: Exception) -> None:
    if not waiting.future.done():
        waiting.future.set_exception(error)
