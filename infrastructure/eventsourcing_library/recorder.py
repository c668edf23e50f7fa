"""Recorders for the `eventsourcing` library on Fleetlog's tables.

An application has a tenant of its own (factory.py); all tenants share one log, so a notification id is an event's
position, and those of one application have gaps where others wrote. Versions of a stream are consecutive from 1 (or 0).
Inserts of one stream from any number of threads share commits; an insert of several streams, or with tracking, is one
transaction of its own.

What they raise is the library's: IntegrityError for a conflict, DataError for events that the log can't take (such as a
state over 256 KiB), OperationalError for a database that stays away, InterfaceError after `close`.
"""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any
from uuid import UUID

from eventsourcing.persistence import (
    AggregateRecorder,
    ApplicationRecorder,
    DataError,
    IntegrityError,
    Notification,
    ProcessRecorder,
    StoredEvent,
    Subscription,
    Tracking,
    TrackingRecorder,
)
from psycopg import Connection

import sql
from domain.identifiers import DEFAULT_TENANT
from infrastructure.eventsourcing_library.log_connections import LogConnections
from infrastructure.eventsourcing_library.mapper import LoggedEvent, LoggedNotification, encoded
from infrastructure.eventsourcing_library.paged_recorder import PagedRecorder
from infrastructure.eventsourcing_library.subscription import LogSubscription
from infrastructure.postgres.event_store.append_request import AppendRequest, append_request
from infrastructure.postgres.event_store.errors import AppendRefused, TrackingConflict
from infrastructure.postgres.event_store.exported_event import exported_lines
from infrastructure.postgres.event_store.reading import PAGE_BYTES, PAGE_EVENTS, StoredRow, stored_row_factory

_NO_BOUND = 2**63 - 1


class SnapshotRecorder(AggregateRecorder):
    """Snapshots of aggregates, beside the log."""

    def __init__(self, log: LogConnections) -> None:
        self._log = log

    def insert_events(self, stored_events: Sequence[StoredEvent], **_: Any) -> None:
        rows = [
            {"stream": str(s.originator_id), "seq": s.originator_version, "topic": s.topic, "state": s.state}
            for s in stored_events
        ]
        with self._log.connection() as connection, connection.transaction():
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
        rows = self._log.rows(query, **_stream_bounds(originator_id, gt, lte, limit))
        return [StoredEvent(originator_id, seq, topic, state) for _, seq, topic, state in rows]


class LogAggregateRecorder(AggregateRecorder):
    """The streams of the log, as the library records and reads them."""

    def __init__(self, log: LogConnections) -> None:
        self._log = log

    def insert_events(self, stored_events: Sequence[StoredEvent], **kwargs: Any) -> Sequence[int] | None:
        """None: only an application's recorder knows notification ids."""
        self._append(stored_events, kwargs.get("tracking"))
        return None

    def _append(self, stored_events: Sequence[StoredEvent], tracking: Tracking | None) -> list[int]:
        """The positions of the events, in order."""
        if not stored_events and tracking is None:
            return []
        requests, order = _requests(stored_events)
        positions = [position for result in self._log.append(requests, tracking) for position in result.positions]
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

    def _rows(self, query: str, **arguments: Any) -> list[StoredRow]:
        return self._log.rows(query, row_factory=stored_row_factory, **arguments)


class LogRecorder(LogAggregateRecorder, PagedRecorder):
    """An application's part of the log, as the library records and reads it."""

    def insert_events(self, stored_events: Sequence[StoredEvent], **kwargs: Any) -> Sequence[int] | None:
        """The positions of the events, in order. A `tracking` is recorded with them."""
        return self._append(stored_events, kwargs.get("tracking")) or None

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
        query, arguments = self._query_of(topics)
        up_to = _NO_BOUND if stop is None else stop
        return self._notifications(self._rows(query, after=after, up_to=up_to, limit=limit, **arguments))

    def notifications_page(self, after: int, topics: Sequence[str] = ()) -> list[Notification]:
        query, arguments = self._query_of(topics)
        bounds = {"after": after, "up_to": _NO_BOUND, "limit": PAGE_EVENTS}
        return self._notifications(self._log.page(query, row_factory=stored_row_factory, **bounds, **arguments))

    def _query_of(self, topics: Sequence[str]) -> tuple[str, dict[str, Any]]:
        if topics:
            return "read_all_of_types", {"types": list(topics)}
        return "read_all" if self._reads_product else "read_application", {}

    def _notifications(self, rows: Sequence[StoredRow]) -> list[Notification]:
        return [
            LoggedNotification(
                originator_id=self._originator_id(row.stream),
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
        query = "last_position_of_product" if self._reads_product else "last_position_of_application"
        rows = self._log.rows(query)
        return rows[0][0] if rows else None

    def last_position(self) -> int:
        return int(self._log.rows("last_position")[0][0])

    def exported_lines(self, after: int, up_to: int) -> Iterator[bytes]:
        while after < up_to:
            bounds = {"after": after, "up_to": up_to, "limit": PAGE_EVENTS, "max_bytes": PAGE_BYTES}
            rows = self._log.rows("audit/export_page", **bounds)
            if not rows:
                return
            yield exported_lines(rows)
            after = rows[-1][0]

    def subscribe(self, gt: int | None = None, topics: Sequence[str] = ()) -> Subscription[ApplicationRecorder]:
        return LogSubscription(self, self._log.notifier, gt=gt, topics=topics)

    @property
    def _reads_product(self) -> bool:
        """Whether it reads the product's log. The other tenants share an index of positions."""
        return self._log.tenant == DEFAULT_TENANT

    def _originator_id(self, stream: str) -> UUID | str:
        if self._log.id_type is str:
            return stream
        try:
            return UUID(stream)
        except ValueError as error:
            raise DataError(
                f"stream {stream!r} of tenant {self._log.tenant!r} is no UUID: ORIGINATOR_ID_TYPE must be 'text'"
            ) from error


class LogTrackingRecorder(TrackingRecorder):
    """How far processes have got."""

    def __init__(self, log: LogConnections) -> None:
        self._log = log

    def insert_tracking(self, tracking: Tracking) -> None:
        self._log.append([], tracking)

    @contextlib.contextmanager
    def transaction(self, tracking: Tracking) -> Iterator[Connection[Any]]:
        """For a view that is rows of tables: what is executed on the connection is written together with `tracking`, or
        not at all. Raises IntegrityError if this position, or a later one, has been handled already."""
        arguments = {
            "tenant": self._log.tenant,
            "application_name": tracking.application_name,
            "position": tracking.notification_id,
        }
        with self._log.connection() as connection, connection.transaction():
            if connection.execute(sql.query("advance_tracking"), arguments).fetchone() is None:
                raise TrackingConflict(
                    f"position {tracking.notification_id} of {tracking.application_name} was handled"
                )
            yield connection

    def max_tracking_id(self, application_name: str) -> int | None:
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
        if len({*versions}) < len(versions):
            raise IntegrityError(f"a version of {stream} occurs twice in one insert: {versions[:10]}")
        if versions != list(range(versions[0], versions[0] + len(versions))):
            raise AppendRefused(f"the versions of {stream} must be consecutive, got {versions[:10]}")
        requests.append(append_request(stream, versions[0] - 1, [encoded(stored_events[place]) for place in places]))
    gathered = [place for places in streams.values() for place in places]
    order = sorted(range(len(gathered)), key=gathered.__getitem__)
    return requests, order
