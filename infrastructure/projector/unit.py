"""One version of one projection, as the process that projects it sees it."""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from domain.record import RecordedEvent
from infrastructure.projector.log_page import LogPage, Undecodable, describe
from projections.projection import Projection

CACHED_ROWS = 5_000
SNAPSHOT_EVERY = 500
"""Rows are kept about every so many events of their stream, for time travel."""

MARKED_STREAMS = 5_000

RowKey = tuple[str, str]
"""Tenant and key."""


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """Why a projection can't go on: the event at `position`. `waiting`: newer code wrote it, nothing is wrong."""

    position: int
    type: str
    error: str
    waiting: bool


class RowCache:
    """The rows that were folded last, as they are in the database. `complete`: a row that isn't here isn't there."""

    def __init__(self, *, complete: bool, limit: int = CACHED_ROWS) -> None:
        self._rows: OrderedDict[RowKey, Any] = OrderedDict()
        self._limit = limit
        self.complete = complete

    def get(self, key: RowKey) -> Any:
        """The row, or None when it isn't known here."""
        row = self._rows.get(key)
        if row is not None:
            self._rows.move_to_end(key)
        return row

    def put(self, rows: dict[RowKey, Any]) -> None:
        """Remember rows that are committed now; the least recently used ones are forgotten."""
        self._rows.update(rows)
        while len(self._rows) > self._limit:
            self._rows.popitem(last=False)
            self.complete = False


class RowSnapshot(msgspec.Struct, frozen=True, gc=False):
    """A row as it was after the event `seq` of its stream."""

    tenant: str
    stream: str
    seq: int
    row: Any


class SnapshotMarks:
    """Tells when a stream has passed another SNAPSHOT_EVERY events. What it has forgotten it begins to count anew."""

    def __init__(self) -> None:
        self._last_seqs: OrderedDict[tuple[str, str], int] = OrderedDict()

    def passed(self, entry: RecordedEvent) -> bool:
        """Whether a mark lies between the stream's last event that was folded here and this one."""
        stream = entry.tenant, entry.stream
        last = self._last_seqs.pop(stream, None)
        self._last_seqs[stream] = entry.seq
        if len(self._last_seqs) > MARKED_STREAMS:
            self._last_seqs.popitem(last=False)
        return (
            last is not None and last < entry.seq and (last - 1) // SNAPSHOT_EVERY < (entry.seq - 1) // SNAPSHOT_EVERY
        )


class Unit:
    """A version of a projection that this process holds the lock of."""

    def __init__(
        self,
        projection: Projection[Any],
        version: int,
        *,
        state: Literal["building", "active", "retired"],
        position: int,
        status: str,
        skips: frozenset[int],
        cached_rows: int = CACHED_ROWS,
    ) -> None:
        self.projection, self.version, self.state = projection, version, state
        self.position, self.status, self.skips = position, status, skips
        self.cache = RowCache(complete=position == 0, limit=cached_rows)
        self.marks = SnapshotMarks() if projection.row_per_stream else None

    @property
    def name(self) -> str:
        return self.projection.name


Touched = tuple[RowKey, RecordedEvent | Undecodable]
"""The key of the row that an event touches, and the event."""


def touched_rows(units: Sequence[Unit], page: LogPage) -> list[list[Touched]]:
    """For each unit, what the page's events of interest touch, in order."""
    touched: list[list[Touched]] = [[] for _ in units]
    wanted: dict[str, list[tuple[Unit, list[Touched]]]] = {}
    for unit, of_unit in zip(units, touched, strict=True):
        for type_ in unit.projection.event_types:
            wanted.setdefault(type_, []).append((unit, of_unit))
    for entry in page.events:
        type_ = entry.event.wire_name if isinstance(entry, RecordedEvent) else entry.type
        for unit, of_unit in wanted.get(type_, ()):
            if entry.position > unit.position and entry.position not in unit.skips:
                of_unit.append(_with_key(unit, entry))
    return touched


def _with_key(unit: Unit, entry: RecordedEvent | Undecodable) -> Touched:
    if isinstance(entry, Undecodable):
        return ("", ""), entry
    try:
        return (entry.tenant, unit.projection.key(entry)), entry
    except Exception as error:  # noqa: BLE001  # as in Folded.fold
        wire_name = entry.event.wire_name
        return ("", ""), Undecodable(position=entry.position, type=wire_name, error=describe(error), newer=False)


class Folded:
    """What a page makes of a unit: the rows that changed, and how far it could be folded."""

    def __init__(self, unit: Unit, page: LogPage) -> None:
        self.unit, self.position = unit, page.up_to
        self.rows: dict[RowKey, Any] = {}
        self.snapshots: list[RowSnapshot] = []
        self.problem: Problem | None = None

    def fold(self, key: RowKey, entry: RecordedEvent | Undecodable, known: Any) -> bool:
        """Fold one event on the row before it, `known` unless this page changed it; False when it can't be applied."""
        if isinstance(entry, Undecodable):
            self.stop_before(entry.position, entry.type, entry.error, waiting=entry.newer)
            return False
        before = self.rows.get(key, known)
        try:
            after = self.unit.projection.fold(before, entry)
        except Exception as error:  # noqa: BLE001  # whatever it is, it stops this projection alone
            self.stop_before(entry.position, entry.event.wire_name, describe(error))
            return False
        if after is not before:
            self.rows[key] = after
        marks = self.unit.marks
        if marks is not None and marks.passed(entry) and before is not None:
            self.snapshots.append(RowSnapshot(entry.tenant, entry.stream, entry.seq - 1, before))
        return True

    def stop_before(self, position: int, type_: str, error: str, *, waiting: bool = False) -> None:
        """What was folded so far counts; the event at `position` does not."""
        self.position = position - 1
        self.problem = Problem(position=position, type=type_, error=error, waiting=waiting)
