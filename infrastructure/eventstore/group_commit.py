"""Group commit for callers of one event loop: a bounded queue, and one connection that empties it batch by batch.

A lost connection leaves a commit in doubt. The batch is then sent again over a new one: what was committed is found by
its event ids, what was not is written now. Nothing is ever guessed.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Iterable

import psycopg

from application.ports import AppendResult
from infrastructure.eventstore.batch import Answer, AppendRequest, Call, Gathering, Outcome, append_call, outcomes
from infrastructure.eventstore.prepared_append import AsyncAppendConnection
from infrastructure.postgres.sessions import STATEMENT_TIMEOUT_SECONDS

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


_Waiting = tuple[AppendRequest, asyncio.Future[AppendResult]]


class GroupCommit:
    """For the callers of one event loop. Open until `close`."""

    def __init__(self, dsn: str, *, tenant: str, retry_seconds: float = RETRY_SECONDS) -> None:
        """`retry_seconds`: how long a batch is tried again while the database is away."""
        self._tenant, self._retry_seconds = tenant.encode(), retry_seconds
        self._link = _Link(dsn)
        self._queue: deque[_Waiting] = deque()
        self._queued_bytes = 0
        self._blocked: deque[asyncio.Future[None]] = deque()
        self._last_batch_size = 1
        self._idle = asyncio.Event()
        self._idle.set()
        self._emptying: asyncio.Task[None] | None = None
        self._closed = False

    def append(self, request: AppendRequest) -> Awaitable[AppendResult]:
        """Waits for room in the queue, then for the commit. Raises ExpectedSeqConflict, EventStoreUnavailable or
        EventStoreClosed."""
        if self._is_full(request):
            return self._append_when_there_is_room(request)
        if self._closed:
            raise EventStoreClosed("the event store is closed")
        outcome: asyncio.Future[AppendResult] = asyncio.get_running_loop().create_future()
        if not self._idle.is_set():
            self._queue.append((request, outcome))
            self._queued_bytes += request.size
        elif self._last_batch_size <= 1:
            return self._commit_alone(request, outcome)
        else:
            self._queue.append((request, outcome))
            self._queued_bytes += request.size
            self._start_emptying()
        return outcome

    async def _append_when_there_is_room(self, request: AppendRequest) -> AppendResult:
        while self._is_full(request):
            room: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._blocked.append(room)
            await room
        return await self.append(request)

    async def close(self) -> None:
        """Commit what is queued, for 40 seconds at most; then fail what is left."""
        self._closed = True
        try:
            async with asyncio.timeout(DRAIN_SECONDS):
                await self._idle.wait()
        except TimeoutError:
            if self._emptying is not None:
                self._emptying.cancel()
                await asyncio.gather(self._emptying, return_exceptions=True)
        _fail_all(self._queue, EventStoreClosed("the event store was closed before this append could be written"))
        self._queue.clear()
        self._make_room()
        self._link.close()

    async def _commit_alone(self, request: AppendRequest, outcome: asyncio.Future[AppendResult]) -> AppendResult:
        """A lone caller commits by itself, which spares it two turns of the event loop. When it is cancelled nobody
        else is in its batch."""
        self._idle.clear()
        try:
            await self._commit([(request, outcome)])
        finally:
            if self._queue:
                self._start_emptying()
            else:
                self._idle.set()
        return outcome.result()

    def _start_emptying(self) -> None:
        self._idle.clear()
        self._emptying = asyncio.create_task(self._empty_queue())

    async def _empty_queue(self) -> None:
        try:
            while self._queue:
                batch = self._take_batch()
                self._last_batch_size = len(batch)
                try:
                    if batch:
                        await self._commit(batch)
                except asyncio.CancelledError:
                    _fail_all(batch, EventStoreClosed("the event store was closed while this append was under way"))
                    raise
        finally:
            self._idle.set()

    def _is_full(self, request: AppendRequest) -> bool:
        queued = len(self._queue)
        return queued >= MAX_QUEUED_REQUESTS or (queued > 0 and self._queued_bytes + request.size > MAX_QUEUED_BYTES)

    def _take_batch(self) -> list[_Waiting]:
        gathering = Gathering(MAX_BATCH_EVENTS, MAX_BATCH_BYTES)
        batch: list[_Waiting] = []
        while self._queue:
            request, outcome = self._queue[0]
            if not outcome.done():
                if not gathering.takes(request):
                    break
                batch.append(self._queue[0])
            self._queue.popleft()
            self._queued_bytes -= request.size
        self._make_room()
        return batch

    def _make_room(self) -> None:
        while self._blocked:
            room = self._blocked.popleft()
            if not room.done():
                room.set_result(None)

    async def _commit(self, batch: list[_Waiting]) -> None:
        requests = [request for request, _ in batch]
        try:
            results = await self._written(requests)
        except psycopg.Error as error:
            if len(batch) == 1:
                _fail_all(batch, error)
            else:
                for waiting in batch:  # one of them is at fault; the others must not suffer
                    await self._commit([waiting])
        except Exception as error:  # noqa: BLE001  # no caller may wait for ever
            _fail_all(batch, error)
        else:
            _settle(batch, results)

    async def _written(self, requests: list[AppendRequest]) -> list[Outcome]:
        call = append_call(self._tenant, requests)
        deadline = time.monotonic() + self._retry_seconds
        delay = FIRST_RETRY_DELAY_SECONDS
        in_doubt = False
        while True:
            try:
                return outcomes(requests, await self._link.append(call), in_doubt=in_doubt)
            except (psycopg.OperationalError, psycopg.InterfaceError, TimeoutError) as error:
                in_doubt = True
                self._link.close()
                if time.monotonic() + delay > deadline:
                    raise EventStoreUnavailable(f"the append could not be written: {error}") from error
                _logger.warning("append failed, trying again", extra={"error": str(error), "requests": len(requests)})
                await asyncio.sleep(delay)
                delay = min(2 * delay, LAST_RETRY_DELAY_SECONDS)


class _Link:
    """A connection that is made when it is needed."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._connection: AsyncAppendConnection | None = None

    async def append(self, call: Call) -> Answer:
        if self._connection is None:
            async with asyncio.timeout(STATEMENT_TIMEOUT_SECONDS):
                self._connection = await AsyncAppendConnection.open(self._dsn)
        return await self._connection.append(call, timeout=STATEMENT_TIMEOUT_SECONDS + 5)

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def _settle(batch: list[_Waiting], results: list[Outcome]) -> None:
    for (_, outcome), result in zip(batch, results, strict=True):
        if outcome.done():  # its caller was cancelled
            continue
        if isinstance(result, AppendResult):
            outcome.set_result(result)
        else:
            outcome.set_exception(result)


def _fail_all(batch: Iterable[_Waiting], error: Exception) -> None:
    for _, outcome in batch:
        if not outcome.done():
            outcome.set_exception(error)
