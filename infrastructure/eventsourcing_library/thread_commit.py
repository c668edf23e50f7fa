"""Group commit for threads: one of the waiting callers leads, and commits for all that have queued up meanwhile.

The rules are those of group_commit: a lost connection leaves a commit in doubt, and the batch is
sent again; what was committed is found by its event ids.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Sequence

import psycopg
from eventsourcing.persistence import Tracking

import sql
from application.ports.event_store import AppendResult
from infrastructure.postgres.connections import STATEMENT_TIMEOUT_SECONDS
from infrastructure.postgres.event_store.append_request import AppendRequest
from infrastructure.postgres.event_store.batch import BatchBuilder, BatchResult, append_call, append_outcomes
from infrastructure.postgres.event_store.errors import (
    EventStoreClosed,
    EventStoreFull,
    EventStoreUnavailable,
    StreamConflict,
    TrackingConflict,
)
from infrastructure.postgres.event_store.group_commit import (
    FIRST_RETRY_DELAY_SECONDS,
    LAST_RETRY_DELAY_SECONDS,
    MAX_BATCH_BYTES,
    MAX_BATCH_EVENTS,
    MAX_QUEUED_REQUESTS,
    RETRY_SECONDS,
)
from infrastructure.postgres.event_store.prepared_append import AppendConnection

_WAIT_SECONDS = RETRY_SECONDS + 2 * STATEMENT_TIMEOUT_SECONDS
_logger = logging.getLogger(__name__)


class _QueuedAppend:
    """A caller: one request that may share its commit, or several (with a tracking) that are all or none."""

    def __init__(self, requests: Sequence[AppendRequest], tracking: Tracking | None) -> None:
        self.requests, self.tracking = requests, tracking
        self.alone = tracking is not None or len(requests) != 1
        self.results: list[AppendResult] = []
        self.error: Exception | None = None
        self.leads = False
        self.wake = threading.Lock()
        self.wake.acquire()


class ThreadGroupCommit:
    """Safe for any number of threads; `close` it when they are done."""

    def __init__(self, dsn: str, *, tenant: str, retry_seconds: float = RETRY_SECONDS) -> None:
        self._dsn, self._tenant, self._retry_seconds = dsn, tenant, retry_seconds
        self._state = threading.Lock()
        self._room = threading.BoundedSemaphore(MAX_QUEUED_REQUESTS)
        self._queue: deque[_QueuedAppend] = deque()
        self._has_leader = False
        self._closed = False
        self._connection: AppendConnection | None = None

    def append(self, requests: Sequence[AppendRequest], tracking: Tracking | None = None) -> list[AppendResult]:
        """Write all of the requests or none. Raises StreamConflict, TrackingConflict, EventStoreUnavailable or
        EventStoreClosed."""
        if not self._room.acquire(timeout=_WAIT_SECONDS):
            raise EventStoreUnavailable("the append found no room in the queue; nothing was written")
        try:
            waiting = _QueuedAppend(requests, tracking)
            with self._state:
                if self._closed:
                    raise EventStoreClosed("the event store is closed")
                self._queue.append(waiting)
                waiting.leads, self._has_leader = not self._has_leader, True
            if not waiting.leads and not waiting.wake.acquire(timeout=_WAIT_SECONDS):
                self._give_up(waiting)
            if waiting.leads:
                self._lead()
        finally:
            self._room.release()
        if waiting.error is not None:
            raise waiting.error
        return waiting.results

    def close(self) -> None:
        """Refuse further appends; those under way are finished by their own threads."""
        with self._state:
            self._closed = True
            idle = not self._has_leader
        if idle:
            self._disconnect()

    def _give_up(self, waiting: _QueuedAppend) -> None:
        with self._state:
            if waiting.leads:  # became the leader just now: the others depend on it
                return
            if waiting in self._queue:
                self._queue.remove(waiting)
                raise EventStoreUnavailable("the append waited too long for its turn; nothing was written")
        raise EventStoreUnavailable("the append was not written in time; appending it again is safe")

    def _lead(self) -> None:
        with self._state:
            batch = self._take_batch()
        try:
            self._commit(batch)
        except BaseException as error:
            for waiting in batch:
                waiting.error = EventStoreUnavailable(f"the thread that was writing this append ended: {error!r}")
            raise
        finally:
            with self._state:
                following = self._queue[0] if self._queue else None
                if following is None:
                    self._has_leader = False
                    if self._closed:
                        self._disconnect()
                else:
                    following.leads = True
                    following.wake.release()
            for waiting in batch:
                if not waiting.leads:
                    waiting.wake.release()

    def _take_batch(self) -> list[_QueuedAppend]:
        if self._queue[0].alone:
            return [self._queue.popleft()]
        builder = BatchBuilder(MAX_BATCH_EVENTS, MAX_BATCH_BYTES)
        batch: list[_QueuedAppend] = []
        while self._queue and not self._queue[0].alone and builder.try_add(self._queue[0].requests[0]):
            batch.append(self._queue.popleft())
        return batch

    def _commit(self, batch: list[_QueuedAppend]) -> None:
        deadline = time.monotonic() + self._retry_seconds
        delay = FIRST_RETRY_DELAY_SECONDS
        in_doubt = False
        while True:
            try:
                if batch[0].alone:
                    self._write_alone(batch[0], in_doubt=in_doubt)
                else:
                    self._write_shared(batch, in_doubt=in_doubt)
                return
            except psycopg.errors.DiskFull as error:
                self._disconnect()
                _fail(batch, EventStoreFull(f"the append could not be written: {error}"))
                return
            except (psycopg.OperationalError, psycopg.InterfaceError) as error:
                in_doubt = True
                self._disconnect()
                if time.monotonic() + delay > deadline:
                    _fail(batch, EventStoreUnavailable(f"the append could not be written: {error}"))
                    return
                _logger.warning("append failed, trying again", extra={"error": str(error), "requests": len(batch)})
                time.sleep(delay)
                delay = min(2 * delay, LAST_RETRY_DELAY_SECONDS)
            except psycopg.Error as error:
                if len(batch) == 1:
                    _fail(batch, error)
                else:
                    for waiting in batch:  # one of them is at fault; the others are written
                        self._commit([waiting])
                return

    def _write_shared(self, batch: list[_QueuedAppend], *, in_doubt: bool) -> None:
        requests = [waiting.requests[0] for waiting in batch]
        results = append_outcomes(requests, self._append_events(requests), in_doubt=in_doubt)
        for waiting, outcome in zip(batch, results, strict=True):
            if isinstance(outcome, StreamConflict):
                waiting.error = outcome
            else:
                waiting.results = [outcome]

    def _write_alone(self, waiting: _QueuedAppend, *, in_doubt: bool) -> None:
        try:
            with self._connected().connection.transaction():
                tracked_before = waiting.tracking is not None and not self._moved(waiting.tracking, in_doubt=in_doubt)
                if waiting.requests:
                    waiting.results = self._all_or_none(waiting, in_doubt=in_doubt, tracked_before=tracked_before)
        except (StreamConflict, TrackingConflict) as error:
            waiting.error = error

    def _moved(self, tracking: Tracking, *, in_doubt: bool) -> bool:
        """Whether the process moved forward; False when an attempt in doubt seems to have moved it here."""
        process = {"tenant": self._tenant, "application_name": tracking.application_name}
        moved = self._connected().connection.execute(
            sql.query("advance_tracking"), {**process, "position": tracking.notification_id}
        )
        if moved.fetchone() is not None:
            return True
        if in_doubt:
            present = self._connected().connection.execute(sql.query("max_tracking_position"), process).fetchone()
            if present == (tracking.notification_id,):
                return False
        raise TrackingConflict(
            f"position {tracking.notification_id} of {tracking.application_name} has been handled already"
        )

    def _all_or_none(self, waiting: _QueuedAppend, *, in_doubt: bool, tracked_before: bool) -> list[AppendResult]:
        batch_result = self._append_events(waiting.requests)
        results = [
            _result_or_raise(outcome) for outcome in append_outcomes(waiting.requests, batch_result, in_doubt=in_doubt)
        ]
        are_new = {result.position > batch_result.position_before for result in results}
        if len(are_new) > 1:
            first = waiting.requests[0]
            raise StreamConflict(first.stream, first.expected_seq, results[0].last_seq)
        if tracked_before and True in are_new:
            raise TrackingConflict("another process has handled this position")
        return results

    def _append_events(self, requests: Sequence[AppendRequest]) -> BatchResult:
        return self._connected().append(append_call(self._tenant.encode(), requests))

    def _connected(self) -> AppendConnection:
        if self._connection is None:
            self._connection = AppendConnection.open(self._dsn)
        return self._connection

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def _result_or_raise(outcome: AppendResult | StreamConflict) -> AppendResult:
    if isinstance(outcome, StreamConflict):
        raise outcome
    return outcome


def _fail(batch: list[_QueuedAppend], error: Exception) -> None:
    for waiting in batch:
        waiting.error = error
