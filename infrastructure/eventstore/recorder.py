"""Recorders for the `eventsourcing` library on Fleetlog's tables.

All applications of a tenant share one log: a notification id is an event's position. Versions of a stream are
consecutive from 1 (or 0). Inserts of one stream from any number of threads share commits; an insert of several streams,
or with tracking, is one transaction of its own.

The library's exceptions stand for ours: IntegrityError for a conflict, DataError for events that the log can't take
(such as a state over 256 KiB), OperationalError for a database that stays away.
"""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any
from uuid import UUID

import psycopg
from eventsourcing.persistence import (
    AggregateRecorder,
    ApplicationRecorder,
    DataError,
    IntegrityError,
    InterfaceError,
    Notification,
    OperationalError,
    PersistenceError,
    ProcessRecorder,
    StoredEvent,
    Subscription,
    Tracking,
    TrackingRecorder,
)

import sql
from application.ports import ExpectedSeqConflict
from infrastructure.eventstore.batch import AppendRefused, AppendRequest, append_request
from infrastructure.eventstore.group_commit import EventStoreClosed, EventStoreUnavailable
from infrastructure.eventstore.log_connections import LogConnections
from infrastructure.eventstore.mapper import LoggedEvent, LoggedNotification, encoded
from infrastructure.eventstore.reading import StoredRow, stored_row_factory
from infrastructure.eventstore.subscription import LogSubscription
from infrastructure.eventstore.thread_commit import TrackedPosition, TrackingConflict

_NO_BOUND = 2**63 - 1


@contextlib.contextmanager
def library_errors() -> Iterator[None]:
    """Raise the library's exceptions in place of ours and psycopg's."""
    try:
        yield
    except (ExpectedSeqConflict, TrackingConflict, psycopg.IntegrityError) as error:
        raise IntegrityError(str(error)) from error
    except (AppendRefused, psycopg.DataError) as error:
        raise DataError(str(error)) from error
    except (EventStoreUnavailable, psycopg.OperationalError) as error:
        raise OperationalError(str(error)) from error
    except EventStoreClosed as error:
        raise InterfaceError(str(error)) from error
    except psycopg.Error as error:
        raise PersistenceError(str(error)) from error


class SnapshotRecorder(AggregateRecorder):
    """Snapshots of aggregates, beside the log."""

    def __init__(self, log: LogConnections) -> None:
        self._log = log

    def insert_events(self, stored_events: Sequence[StoredEvent], **_: Any) -> None:
        rows = [
            {"stream": str(s.originator_id), "seq": s.originator_version, "topic": s.topic, "state": s.state}
            for s in stored_events
        ]
        with library_errors(), self._log.connection() as connection, connection.transaction():
            for row in rows:
                connection.execute(sql.query("insert_snapshot"), {"tenant": self._log.tenant, **row})

    def select_events(
        self,
        originator_id: UUID | str,
        *,
        gt: int | None = None,
        lte: int | None = None,
        desc: bool = False,
        limit: int | None = None,
    ) -> list[StoredEvent]:
        query = "read_snapshots_backwards" if desc else "read_snapshots"
        with library_errors():
            rows = self._log.rows(query, **_stream_bounds(originator_id, gt, lte, limit))
        return [StoredEvent(originator_id, seq, topic, state) for _, seq, topic, state in rows]


class LogRecorder(ApplicationRecorder):
    """The log, as the library records and reads it."""

    def __init__(self, log: LogConnections) -> None:
        self._log = log

    def insert_events(self, stored_events: Sequence[StoredEvent], **kwargs: Any) -> Sequence[int] | None:
        """The positions of the events, in order. A `tracking` is recorded with them."""
        tracking: Tracking | None = kwargs.get("tracking")
        if not stored_events and tracking is None:
            return None
        with library_errors():
            requests, order = _requests(stored_events)
            tracked = None if tracking is None else TrackedPosition(tracking.application_name, tracking.notification_id)
            results = self._log.commits.append(requests, tracked)
        positions = [position for result in results for position in result.positions]
        return [positions[place] for place in order]

    def select_events(
        self,
        originator_id: UUID | str,
        *,
        gt: int | None = None,
        lte: int | None = None,
        desc: bool = False,
        limit: int | None = None,
    ) -> list[StoredEvent]:
        query = "read_stream_backwards" if desc else "read_stream"
        rows = self._rows(query, **_stream_bounds(originator_id, gt, lte, limit))
        return [
            LoggedEvent(
                originator_id=originator_id,
                originator_version=row.seq,
                topic=row.type,
                state=row.payload,
                row=row,
                tenant=self._log.tenant,
            )
            for row in rows
        ]

    def select_notifications(
        self,
        start: int | None,
        limit: int,
        stop: int | None = None,
        topics: Sequence[str] = (),
        *,
        inclusive_of_start: bool = True,
    ) -> list[Notification]:
        after = 0 if start is None else start - inclusive_of_start
        bounds = {"after": after, "up_to": _NO_BOUND if stop is None else stop, "limit": limit}
        if topics:
            rows = self._rows("read_all_of_types", types=list(topics), **bounds)
        else:
            rows = self._rows("read_all", **bounds)
        return [
            LoggedNotification(
                originator_id=row.stream,
                originator_version=row.seq,
                topic=row.type,
                state=row.payload,
                id=row.position,
                row=row,
                tenant=self._log.tenant,
            )
            for row in rows
        ]

    def max_notification_id(self) -> int | None:
        with library_errors():
            return self._log.rows("last_position")[0][0] or None

    def subscribe(self, gt: int | None = None, topics: Sequence[str] = ()) -> Subscription[ApplicationRecorder]:
        return LogSubscription(self, self._log.notifier, gt=gt, topics=topics)

    def _rows(self, query: str, **arguments: Any) -> list[StoredRow]:
        with library_errors():
            return self._log.rows(query, row_factory=stored_row_factory, **arguments)


class LogTrackingRecorder(TrackingRecorder):
    """How far processes have got."""

    def __init__(self, log: LogConnections) -> None:
        self._log = log

    def insert_tracking(self, tracking: Tracking) -> None:
        with library_errors():
            self._log.commits.append([], TrackedPosition(tracking.application_name, tracking.notification_id))

    def max_tracking_id(self, application_name: str) -> int | None:
        with library_errors():
            rows = self._log.rows("max_tracking_position", application_name=application_name)
        return rows[0][0] if rows else None


class LogProcessRecorder(LogTrackingRecorder, LogRecorder, ProcessRecorder):
    """Events and the position whose handling led to them, in one transaction."""


def _stream_bounds(originator_id: UUID | str, gt: int | None, lte: int | None, limit: int | None) -> dict[str, Any]:
    return {
        "stream": str(originator_id),
        "after": -1 if gt is None else gt,
        "up_to": _NO_BOUND if lte is None else lte,
        "limit": limit,
    }


def _requests(stored_events: Sequence[StoredEvent]) -> tuple[list[AppendRequest], list[int]]:
    """One request for each stream, and for each stored event its place among the events of all requests."""
    streams: dict[str, list[int]] = {}
    for place, stored in enumerate(stored_events):
        streams.setdefault(str(stored.originator_id), []).append(place)
    requests = []
    for stream, places in streams.items():
        versions = [stored_events[place].originator_version for place in places]
        if versions != list(range(versions[0], versions[0] + len(versions))):
            raise AppendRefused(f"the versions of {stream} must be consecutive, got {versions[:10]}")
        requests.append(append_request(stream, versions[0] - 1, [encoded(stored_events[place]) for place in places]))
    gathered = [place for places in streams.values() for place in places]
    order = sorted(range(len(gathered)), key=gathered.__getitem__)
    return requests, order
