"""One version of one projection, as the process that projects it sees it."""

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import Any, Literal

import msgspec

from application.turns import Turn
from domain.operations.log_consumer import BlockingEvent, blocking_event
from domain.record import RecordedEvent
from infrastructure.postgres.projector.log_page import LogPage
from projections.projection import Projection

CACHED_ROWS = 5_000
CACHED_BYTES = 32 * 1024 * 1024
"""Of rows as JSON: a row of many todos or questions takes the place of many others."""
SNAPSHOT_EVERY = 500
"""Events of a stream between two stored snapshots of its row, about; time travel starts at these."""

MARKED_STREAMS = 5_000

RowKey = tuple[str, str]
"""Tenant and key."""


class RowCache:
    """The rows that were folded last, as they are in the database. `complete`: the database has no others."""

    def __init__(self, *, complete: bool, limit: int = CACHED_ROWS, max_bytes: int = CACHED_BYTES) -> None:
        self._rows: OrderedDict[RowKey, Any] = OrderedDict()
        self._sizes: dict[RowKey, int] = {}
        self._limit, self._max_bytes, self._bytes = limit, max_bytes, 0
        self.complete = complete

    def get(self, key: RowKey) -> Any:
        """The row, or None when it isn't known here."""
        row = self._rows.get(key)
        if row is not None:
            self._rows.move_to_end(key)
        return row

    def put(self, rows: dict[RowKey, Any], sizes: Iterable[int]) -> None:
        """Remember rows that are committed now, with their sizes as JSON; the least recently used ones are
        forgotten."""
        for (key, row), size in zip(rows.items(), sizes, strict=True):
            self._rows[key] = row
            self._bytes += size - self._sizes.get(key, 0)
            self._sizes[key] = size
        while len(self._rows) > self._limit or self._bytes > self._max_bytes:
            key, _ = self._rows.popitem(last=False)
            self._bytes -= self._sizes.pop(key)
            self.complete = False


class RowSnapshot(msgspec.Struct, frozen=True, gc=False):
    """A row as it was after the event `seq` of its stream."""

    tenant: str
    stream: str
    seq: int
    row: Any


class SnapshotMarks:
    """Notices when a stream passes a multiple of SNAPSHOT_EVERY events; remembers MARKED_STREAMS streams."""

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


class ProjectedVersion:
    """A version of a projection that this process holds the lock of. `blocking`: the event right behind its position,
    when it can't go on because of it."""

    def __init__(
        self,
        projection: Projection[Any],
        version: int,
        *,
        state: Literal["building", "active", "retired"],
        position: int,
        skips: frozenset[int],
        cached_rows: int = CACHED_ROWS,
    ) -> None:
        self.projection, self.version, self.state = projection, version, state
        self.position, self.skips = position, skips
        self.blocking: BlockingEvent | None = None
        self.cache = RowCache(complete=position == 0, limit=cached_rows)
        self.marks = SnapshotMarks() if projection.row_per_stream else None

    @property
    def name(self) -> str:
        return self.projection.name


Touched = tuple[RowKey, RecordedEvent | BlockingEvent]
"""The key of the row that an event touches, and the event."""


async def touched_rows(versions: Sequence[ProjectedVersion], page: LogPage) -> list[list[Touched]]:
    """For each version, what the page's events of interest touch, in order."""
    turn = Turn()
    touched: list[list[Touched]] = [[] for _ in versions]
    wanted: dict[str, list[tuple[ProjectedVersion, list[Touched]]]] = {}
    for projected, of_version in zip(versions, touched, strict=True):
        for type_ in projected.projection.event_types:
            wanted.setdefault(type_, []).append((projected, of_version))
    for entry in page.events:
        type_ = entry.event.wire_name if isinstance(entry, RecordedEvent) else entry.type
        for projected, of_version in wanted.get(type_, ()):
            if entry.position > projected.position and entry.position not in projected.skips:
                of_version.append(_with_key(projected, entry))
        if turn.over:
            await turn.next()
    return touched


def _with_key(projected: ProjectedVersion, entry: RecordedEvent | BlockingEvent) -> Touched:
    if isinstance(entry, BlockingEvent):
        return ("", ""), entry
    try:
        return (entry.tenant, projected.projection.key(entry)), entry
    except Exception as error:  # noqa: BLE001  # as in Folded.fold
        return ("", ""), blocking_event(entry.position, entry.event.wire_name, error)


class Folded:
    """What a page makes of a version: the rows that changed, and how far it could be folded."""

    def __init__(self, projected: ProjectedVersion, page: LogPage) -> None:
        self.projected, self.position = projected, page.up_to
        self.rows: dict[RowKey, Any] = {}
        self.snapshots: list[RowSnapshot] = []
        self.blocking: BlockingEvent | None = None

    def fold(self, key: RowKey, entry: RecordedEvent | BlockingEvent, known: Any) -> bool:
        """Fold one event on the row before it, `known` unless this page changed it; False when it can't be applied."""
        if isinstance(entry, BlockingEvent):
            self.stop_before(entry)
            return False
        before = self.rows.get(key, known)
        try:
            after = self.projected.projection.fold(before, entry)
        except Exception as error:  # noqa: BLE001  # whatever it is, it stops this projection alone
            self.stop_before(blocking_event(entry.position, entry.event.wire_name, error))
            return False
        if after is not before:
            self.rows[key] = after
        marks = self.projected.marks
        if marks is not None and marks.passed(entry) and before is not None:
            self.snapshots.append(RowSnapshot(entry.tenant, entry.stream, entry.seq - 1, before))
        return True

    def stop_before(self, blocking: BlockingEvent) -> None:
        """What was folded so far counts; the blocking event does not."""
        self.position, self.blocking = blocking.position - 1, blocking
