"""Group commit for callers of one event loop: a bounded queue, and one connection that empties it batch by batch.

A lost connection leaves a commit in doubt. The batch is then sent again over a new one: what was committed is found by
its event ids, what was not is written now.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Iterable, Sequence
from typing import NamedTuple

import psycopg

from application.ports.event_store import AppendResult
from application.task_cancellation import cancel_and_wait
from infrastructure.postgres.connections import STATEMENT_TIMEOUT_SECONDS
from infrastructure.postgres.continuity import LogContinuity
from infrastructure.postgres.event_store.append_request import AppendRequest
from infrastructure.postgres.event_store.batch import (
    AppendCall,
    AppendOutcome,
    BatchBuilder,
    BatchResult,
    append_call,
    append_outcomes,
)
from infrastructure.postgres.event_store.errors import (
    EventStoreClosed,
    EventStoreFull,
    EventStoreUnavailable,
    StreamConflict,
)
from infrastructure.postgres.event_store.prepared_append import AsyncAppendConnection

MAX_BATCH_EVENTS = 1_000
MAX_BATCH_BYTES = 8 * 1024 * 1024
MAX_QUEUED_REQUESTS = 10_000
MAX_QUEUED_BYTES = 64 * 1024 * 1024
RETRY_SECONDS = 30.0
FIRST_RETRY_DELAY_SECONDS = 0.05
LAST_RETRY_DELAY_SECONDS = 1.0
DRAIN_SECONDS = 40.0
FAILURE_TOLD_SECONDS = 30.0

_logger = logging.getLogger(__name__)


class _QueuedAppend(NamedTuple):
    """`predecessor`: the outcome of the request before it in its sequence; this one is written only if that one is."""

    request: AppendRequest
    outcome: asyncio.Future[AppendResult]
    predecessor: asyncio.Future[AppendResult] | None = None

    @property
    def may_be_written(self) -> bool:
        """Whether the predecessor, which must be decided, was written; true without one."""
        predecessor = self.predecessor
        if predecessor is None:
            return True
        return not (predecessor.cancelled() or predecessor.exception()) and not predecessor.result().duplicate

    def fail_unwritten(self) -> None:
        request = self.request
        self.outcome.set_exception(StreamConflict(request.stream, request.expected_seq, request.expected_seq))


class GroupCommit:
    """For the callers of one event loop. Open until `close`."""

    def __init__(
        self,
        dsn: str,
        *,
        tenant: str,
        retry_seconds: float = RETRY_SECONDS,
        continuity: LogContinuity | None = None,
    ) -> None:
        """`retry_seconds`: how long a batch is tried again while the database is away. `continuity`: nothing is written
        to a log that does not continue it."""
        self._tenant, self._retry_seconds = tenant.encode(), retry_seconds
        self._connection, self._continuity = _LazyConnection(dsn, continuity), continuity
        self._queue: deque[_QueuedAppend] = deque()
        self._queued_bytes = 0
        self._blocked: deque[asyncio.Future[None]] = deque()
        self._last_batch_size = 1
        self._idle = asyncio.Event()
        self._idle.set()
        self._committing: asyncio.Task[None] | None = None
        self._failure: tuple[float, str] | None = None
        self._closed = False

    @property
    def failure(self) -> str:
        """Why the last append failed, if that was in the last 30 seconds; else empty, since the next may be written."""
        if self._failure is None or self._failure[0] + FAILURE_TOLD_SECONDS < time.monotonic():
            return ""
        return self._failure[1]

    def append(self, request: AppendRequest) -> Awaitable[AppendResult]:
        """Waits for room in the queue, then for the commit. Raises ExpectedSeqConflict, EventStoreUnavailable or
        EventStoreClosed."""
        if self._is_full(request):
            return self._append_when_there_is_room(request)
        if self._closed:
            raise EventStoreClosed("the event store is closed")
        outcome: asyncio.Future[AppendResult] = asyncio.get_running_loop().create_future()
        if not self._idle.is_set():
            self._queue.append(_QueuedAppend(request, outcome))
            self._queued_bytes += request.size
        elif self._last_batch_size <= 1:
            return self._commit_alone(request, outcome)
        else:
            self._queue.append(_QueuedAppend(request, outcome))
            self._queued_bytes += request.size
            self._start_committing()
        return outcome

    async def append_sequence(self, requests: Sequence[AppendRequest]) -> list[AppendOutcome]:
        """The requests one after the other, each only when the one before it was written, in one commit if possible.
        The outcomes up to the first that was not written. Raises EventStoreUnavailable or EventStoreClosed."""
        while self._is_full(requests[0]):
            await self._wait_for_room()
        if self._closed:
            raise EventStoreClosed("the event store is closed")
        futures: list[asyncio.Future[AppendResult]] = []
        for request in requests:
            outcome: asyncio.Future[AppendResult] = asyncio.get_running_loop().create_future()
            self._queue.append(_QueuedAppend(request, outcome, futures[-1] if futures else None))
            self._queued_bytes += request.size
            futures.append(outcome)
        if self._idle.is_set():
            self._start_committing()
        outcomes: list[AppendOutcome] = []
        try:
            for future in futures:
                outcomes.append(await future)
                if future.result().duplicate:
                    break
        except StreamConflict as conflict:
            outcomes.append(conflict)
        finally:
            for future in futures:
                if not future.cancel() and not future.cancelled():
                    future.exception()  # retrieved, or asyncio logs it
        return outcomes

    async def _append_when_there_is_room(self, request: AppendRequest) -> AppendResult:
        while self._is_full(request):
            await self._wait_for_room()
        return await self.append(request)

    async def _wait_for_room(self) -> None:
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
            if self._committing is not None:
                await cancel_and_wait([self._committing])
        _fail_all(self._queue, EventStoreClosed("the event store was closed before this append could be written"))
        self._queue.clear()
        self._wake_blocked()
        self._connection.close()

    async def _commit_alone(self, request: AppendRequest, outcome: asyncio.Future[AppendResult]) -> AppendResult:
        """A single caller commits in its own task, which saves two turns of the event loop. If it is cancelled, no
        other caller is in its batch."""
        self._idle.clear()
        try:
            await self._commit([_QueuedAppend(request, outcome)])
        finally:
            if self._queue:
                self._start_committing()
            else:
                self._idle.set()
        return outcome.result()

    def _start_committing(self) -> None:
        self._idle.clear()
        self._committing = asyncio.create_task(self._commit_queued())

    async def _commit_queued(self) -> None:
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

    def _take_batch(self) -> list[_QueuedAppend]:
        builder = BatchBuilder(MAX_BATCH_EVENTS, MAX_BATCH_BYTES)
        batch: list[_QueuedAppend] = []
        while self._queue:
            queued = self._queue[0]
            if not queued.outcome.done():
                if not _follows_in_batch(batch, queued) and not queued.may_be_written:
                    queued.fail_unwritten()
                elif builder.try_add(queued.request):
                    batch.append(queued)
                else:
                    break
            self._queue.popleft()
            self._queued_bytes -= queued.request.size
        self._wake_blocked()
        return batch

    def _wake_blocked(self) -> None:
        while self._blocked:
            room = self._blocked.popleft()
            if not room.done():
                room.set_result(None)

    async def _commit(self, batch: list[_QueuedAppend]) -> None:
        try:
            results = await self._append_batch(batch)
        except psycopg.Error as error:
            if len(batch) == 1:
                _fail_all(batch, error)
            else:
                for queued in batch:  # one of them is at fault; the others are written
                    if queued.may_be_written:
                        await self._commit([queued])
                    elif not queued.outcome.done():
                        queued.fail_unwritten()
        except Exception as error:  # noqa: BLE001  # no caller may wait for ever
            _fail_all(batch, error)
        else:
            _resolve(batch, results)

    def _failed(self, error: EventStoreUnavailable) -> EventStoreUnavailable:
        self._failure = (time.monotonic(), str(error))
        return error

    async def _append_batch(self, batch: list[_QueuedAppend]) -> list[AppendOutcome]:
        requests = [queued.request for queued in batch]
        chained = {number for number in range(1, len(batch)) if batch[number].predecessor is batch[number - 1].outcome}
        call = append_call(self._tenant, requests, chained)
        deadline = time.monotonic() + self._retry_seconds
        delay = FIRST_RETRY_DELAY_SECONDS
        in_doubt = False
        while True:
            try:
                result = await self._connection.append(call)
                self._failure = None
                outcomes = append_outcomes(requests, result, in_doubt=in_doubt)
            except psycopg.errors.DiskFull as error:
                # The server has said that it wrote nothing; waiting here would hold everybody up behind a full disk.
                self._connection.close()
                raise self._failed(EventStoreFull(f"the append could not be written: {_said(error)}")) from error
            except (psycopg.OperationalError, psycopg.InterfaceError, TimeoutError) as error:
                in_doubt = True
                self._connection.close()
                if time.monotonic() + delay > deadline:
                    raise self._failed(EventStoreUnavailable(f"the append could not be written: {error}")) from error
                _logger.warning("append failed, trying again", extra={"error": str(error), "requests": len(requests)})
                await asyncio.sleep(delay)
                delay = min(2 * delay, LAST_RETRY_DELAY_SECONDS)
                continue
            if self._continuity is not None:
                _remember_last(self._continuity, requests, outcomes)
            return outcomes


class _LazyConnection:
    """A connection that is opened by its first use."""

    def __init__(self, dsn: str, continuity: LogContinuity | None) -> None:
        self._dsn, self._continuity = dsn, continuity
        self._connection: AsyncAppendConnection | None = None

    async def append(self, call: AppendCall) -> BatchResult:
        if self._continuity is not None:
            self._continuity.require_unbroken()
        if self._connection is None:
            async with asyncio.timeout(STATEMENT_TIMEOUT_SECONDS):
                self._connection = await AsyncAppendConnection.open(self._dsn, self._continuity)
        return await self._connection.append(call, timeout=STATEMENT_TIMEOUT_SECONDS + 5)

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def _said(error: psycopg.Error) -> str:
    """The server's own words, such as `could not extend file`: without the statement that it was about."""
    return error.diag.message_primary or str(error)


def _follows_in_batch(batch: Sequence[_QueuedAppend], queued: _QueuedAppend) -> bool:
    """Whether the request before it in its sequence is the last one of the batch, which then decides about both."""
    return queued.predecessor is not None and bool(batch) and batch[-1].outcome is queued.predecessor


def _remember_last(
    continuity: LogContinuity, requests: Sequence[AppendRequest], outcomes: Sequence[AppendOutcome]
) -> None:
    for request, outcome in zip(reversed(requests), reversed(outcomes), strict=True):
        if isinstance(outcome, AppendResult) and not outcome.duplicate:
            continuity.saw(outcome.position, request.events[-1].event_id.decode())
            return


def _resolve(batch: list[_QueuedAppend], results: list[AppendOutcome]) -> None:
    for (_, outcome, _), result in zip(batch, results, strict=True):
        if outcome.done():  # its caller was cancelled
            continue
        if isinstance(result, AppendResult):
            outcome.set_result(result)
        else:
            outcome.set_exception(result)


def _fail_all(batch: Iterable[_QueuedAppend], error: Exception) -> None:
    for _, outcome, _ in batch:
        if not outcome.done():
            outcome.set_exception(error)
