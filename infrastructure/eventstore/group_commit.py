"""Group commit for callers of one event loop: a bounded queue, and one connection that empties it batch by batch.

A lost connection leaves a commit in doubt. The batch is then sent again over a new one: what was committed is found by
its event ids, what was not is written now. Nothing is ever guessed.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Iterable, Sequence
from typing import NamedTuple

import psycopg

from application.ports import AppendResult, ExpectedSeqConflict
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


class _Waiting(NamedTuple):
    """`after`: what this request is written after, and only when that is written."""

    request: AppendRequest
    outcome: asyncio.Future[AppendResult]
    after: asyncio.Future[AppendResult] | None = None

    @property
    def has_its_turn(self) -> bool:
        """Once `after` is decided."""
        after = self.after
        if after is None:
            return True
        return not (after.cancelled() or after.exception()) and not after.result().duplicate

    def give_turn_up(self) -> None:
        request = self.request
        self.outcome.set_exception(ExpectedSeqConflict(request.stream, request.expected_seq, request.expected_seq))


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
            self._queue.append(_Waiting(request, outcome))
            self._queued_bytes += request.size
        elif self._last_batch_size <= 1:
            return self._commit_alone(request, outcome)
        else:
            self._queue.append(_Waiting(request, outcome))
            self._queued_bytes += request.size
            self._start_emptying()
        return outcome

    async def append_in_turn(self, requests: Sequence[AppendRequest]) -> list[Outcome]:
        """The requests one after the other, each only when the one before it was written, in one commit if possible.
        The outcomes up to the first that was not written. Raises EventStoreUnavailable or EventStoreClosed."""
        while self._is_full(requests[0]):
            await self._room()
        if self._closed:
            raise EventStoreClosed("the event store is closed")
        turns: list[asyncio.Future[AppendResult]] = []
        for request in requests:
            outcome: asyncio.Future[AppendResult] = asyncio.get_running_loop().create_future()
            self._queue.append(_Waiting(request, outcome, turns[-1] if turns else None))
            self._queued_bytes += request.size
            turns.append(outcome)
        if self._idle.is_set():
            self._start_emptying()
        outcomes: list[Outcome] = []
        try:
            for turn in turns:
                outcomes.append(await turn)
                if turn.result().duplicate:
                    break
        except ExpectedSeqConflict as conflict:
            outcomes.append(conflict)
        finally:
            for turn in turns:
                if not turn.cancel() and not turn.cancelled():
                    turn.exception()  # seen
        return outcomes

    async def _append_when_there_is_room(self, request: AppendRequest) -> AppendResult:
        while self._is_full(request):
            await self._room()
        return await self.append(request)

    async def _room(self) -> None:
        room: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._blocked.append(room)
        await room

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
            await self._commit([_Waiting(request, outcome)])
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
            waiting = self._queue[0]
            if not waiting.outcome.done():
                if not _follows(batch, waiting) and not waiting.has_its_turn:
                    waiting.give_turn_up()
                elif gathering.takes(waiting.request):
                    batch.append(waiting)
                else:
                    break
            self._queue.popleft()
            self._queued_bytes -= waiting.request.size
        self._make_room()
        return batch

    def _make_room(self) -> None:
        while self._blocked:
            room = self._blocked.popleft()
            if not room.done():
                room.set_result(None)

    async def _commit(self, batch: list[_Waiting]) -> None:
        try:
            results = await self._written(batch)
        except psycopg.Error as error:
            if len(batch) == 1:
                _fail_all(batch, error)
            else:
                for waiting in batch:  # one of them is at fault; the others must not suffer
                    if waiting.has_its_turn:
                        await self._commit([waiting])
                    elif not waiting.outcome.done():
                        waiting.give_turn_up()
        except Exception as error:  # noqa: BLE001  # no caller may wait for ever
            _fail_all(batch, error)
        else:
            _settle(batch, results)

    async def _written(self, batch: list[_Waiting]) -> list[Outcome]:
        requests = [waiting.request for waiting in batch]
        in_turn = {number for number in range(1, len(batch)) if batch[number].after is batch[number - 1].outcome}
        call = append_call(self._tenant, requests, in_turn)
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


def _follows(batch: Sequence[_Waiting], waiting: _Waiting) -> bool:
    """Whether it is decided in the batch itself if it has its turn."""
    return waiting.after is not None and bool(batch) and batch[-1].outcome is waiting.after


def _settle(batch: list[_Waiting], results: list[Outcome]) -> None:
    for (_, outcome, _), result in zip(batch, results, strict=True):
        if outcome.done():  # its caller was cancelled
            continue
        if isinstance(result, AppendResult):
            outcome.set_result(result)
        else:
            outcome.set_exception(result)


def _fail_all(batch: Iterable[_Waiting], error: Exception) -> None:
    for _, outcome, _ in batch:
        if not outcome.done():
            outcome.set_exception(error)
