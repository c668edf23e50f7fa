"""An exported file, read as the log of an application of the `eventsourcing` library.

Its PERSISTENCE_MODULE is `infrastructure.audit.exported_file`; EXPORT_FILE is the path, FLEETLOG_TENANT the tenant
(`default`). Opening reads the file once, to find where each event and each stream begins: afterwards 16 bytes an event
are kept in memory. Hashes are not verified here: that is `script/verify-log`'s.
"""

import base64
import os
from array import array
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NoReturn
from uuid import UUID

import msgspec
from eventsourcing.persistence import (
    AggregateRecorder,
    ApplicationRecorder,
    InfrastructureFactory,
    InterfaceError,
    Mapper,
    Notification,
    ProcessRecorder,
    StoredEvent,
    Subscription,
    TrackingRecorder,
    Transcoder,
)
from eventsourcing.utils import Environment, EnvType

from domain.identifiers import DEFAULT_TENANT
from infrastructure.audit.export import ExportedEvent
from infrastructure.eventsourcing_library.mapper import FleetlogMapper, LoggedEvent, LoggedNotification
from infrastructure.postgres.event_store.reading import StoredRow

_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_decode = msgspec.json.Decoder(ExportedEvent).decode
EVENTS_PER_PAGE = 500


class NotAnExport(OSError):
    """The file is missing, or holds something else than `fleetlog export` writes; the message names the line."""


class ReadsAlone(InterfaceError):
    """An exported file can't be written to, and tracks nothing."""


class _LinePosition(msgspec.Struct, frozen=True, gc=False):
    position: int
    tenant: str
    stream: str
    seq: int


_line_position = msgspec.json.Decoder(_LinePosition).decode


class ExportedFile:
    """The events of one tenant, by their order in the file. For any number of threads."""

    def __init__(self, path: Path, *, tenant: str) -> None:
        self.path, self.tenant = path, tenant
        self._positions, self._offsets = array("q"), array("q")
        self._streams: dict[str, array[int]] = {}
        try:
            self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise NotAnExport(f"{path} can't be read: {error.strerror}") from error
        try:
            self._find_lines()
        except BaseException:
            self.close()
            raise

    def _find_lines(self) -> None:
        last = offset = 0
        with open(self._descriptor, "rb", closefd=False) as file:
            for number, line in enumerate(file, 1):
                try:
                    place = _line_position(line)
                except msgspec.MsgspecError as error:
                    raise NotAnExport(f"{self.path} is no whole export: line {number}: {error}") from error
                if place.position <= last:
                    raise NotAnExport(f"{self.path} is no export: line {number} has position {place.position}")
                last = place.position
                if place.tenant == self.tenant:
                    self._streams.setdefault(place.stream, array("q")).append(len(self._positions))
                    self._positions.append(place.position)
                    self._offsets.append(offset)
                offset += len(line)
        self._offsets.append(offset)

    @property
    def last_position(self) -> int | None:
        return self._positions[-1] if self._positions else None

    def event(self, number: int) -> StoredRow:
        """The event with this number among the tenant's, counted from 0."""
        start = self._offsets[number]
        block = os.pread(self._descriptor, self._offsets[number + 1] - start, start)
        return _row(_decode(block.partition(b"\n")[0]))

    def number_after(self, position: int) -> int:
        """The number of the first event after a position."""
        low, high = 0, len(self._positions)
        while low < high:
            middle = (low + high) // 2
            low, high = (middle + 1, high) if self._positions[middle] <= position else (low, middle)
        return low

    def of_stream(self, stream: str) -> Sequence[int]:
        """The numbers of its events, in order."""
        return self._streams.get(stream, ())

    def __len__(self) -> int:
        return len(self._positions)

    def close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


class ExportedFileRecorder(ApplicationRecorder):
    """A file that has ended: a subscription ends after its last event."""

    def __init__(self, file: ExportedFile) -> None:
        self._file = file

    def insert_events(self, stored_events: Sequence[StoredEvent], **kwargs: Any) -> NoReturn:  # noqa: ARG002
        raise ReadsAlone("an exported file can't be written to")

    def select_events(
        self,
        originator_id: UUID | str,
        *,
        gt: int | None = None,
        lte: int | None = None,
        desc: bool = False,
        limit: int | None = None,
    ) -> list[StoredEvent]:
        numbers = self._file.of_stream(str(originator_id))
        if not numbers:
            return []
        first = self._file.event(numbers[0]).seq  # those that follow have the next seqs, without gaps
        begin = 0 if gt is None else max(gt + 1 - first, 0)
        end = len(numbers) if lte is None else max(lte + 1 - first, 0)
        chosen = numbers[begin:end]
        if desc:
            chosen = chosen[::-1]
        return [self._logged(originator_id, self._file.event(number)) for number in chosen[:limit]]

    def _logged(self, originator_id: UUID | str, row: StoredRow) -> StoredEvent:
        return LoggedEvent(
            originator_id=originator_id,
            originator_version=row.seq,
            topic=row.type,
            state=row.payload,
            row=row,
            tenant=self._file.tenant,
        )

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
        found: list[Notification] = []
        for row in self._rows_after(after):
            if len(found) >= limit or (stop is not None and row.position > stop):
                break
            if not topics or row.type in topics:
                found.append(
                    LoggedNotification(
                        originator_id=row.stream,
                        originator_version=row.seq,
                        topic=row.type,
                        state=row.payload,
                        id=row.position,
                        row=row,
                        tenant=self._file.tenant,
                    )
                )
        return found

    def _rows_after(self, position: int) -> Iterator[StoredRow]:
        for number in range(self._file.number_after(position), len(self._file)):
            yield self._file.event(number)

    def max_notification_id(self) -> int | None:
        return self._file.last_position

    def subscribe(self, gt: int | None = None, topics: Sequence[str] = ()) -> Subscription[ApplicationRecorder]:
        return ExportedFileSubscription(self, gt=gt, topics=topics)


class ExportedFileSubscription(Subscription[ApplicationRecorder]):
    def __init__(self, recorder: ApplicationRecorder, gt: int | None = None, topics: Sequence[str] = ()) -> None:
        super().__init__(recorder, gt, topics)
        self._page: Iterator[Notification] = iter(())

    def __next__(self) -> Notification:
        if self._has_been_stopped:
            raise StopIteration
        found = next(self._page, None)
        if found is None:
            self._page = iter(
                self._recorder.select_notifications(
                    self._last_notification_id, EVENTS_PER_PAGE, topics=self._topics, inclusive_of_start=False
                )
            )
            found = next(self._page)
        self._last_notification_id = found.id
        return found


class ExportedFileFactory(InfrastructureFactory[TrackingRecorder]):
    def __init__(self, env: Environment | EnvType | None) -> None:
        """Raises NotAnExport."""
        super().__init__(env)
        path = self.env.get("EXPORT_FILE")
        if not path:
            raise NotAnExport("EXPORT_FILE is not set")
        self._file = ExportedFile(Path(path), tenant=self.env.get("FLEETLOG_TENANT") or DEFAULT_TENANT)

    def mapper(
        self, transcoder: Transcoder | None = None, mapper_class: type[Mapper[Any]] | None = None
    ) -> Mapper[Any]:
        return super().mapper(transcoder=transcoder, mapper_class=mapper_class or FleetlogMapper)

    def application_recorder(self) -> ApplicationRecorder:
        return ExportedFileRecorder(self._file)

    def aggregate_recorder(self, purpose: str = "events") -> AggregateRecorder:
        if purpose != "events":
            raise ReadsAlone("an exported file has no snapshots")
        return ExportedFileRecorder(self._file)

    def tracking_recorder(self, tracking_recorder_class: type[TrackingRecorder] | None = None) -> NoReturn:  # noqa: ARG002
        raise ReadsAlone("an exported file tracks nothing: give the view a persistence module of its own")

    def process_recorder(self) -> ProcessRecorder:
        raise ReadsAlone("an exported file tracks nothing: give the view a persistence module of its own")

    def close(self) -> None:
        self._file.close()

    def __exit__(self, *args: object) -> None:
        super().__exit__(None, None, None)
        self.close()


def _row(exported: ExportedEvent) -> StoredRow:
    payload = base64.b64decode(exported.payload_base64 or "") if exported.payload is None else exported.payload.encode()
    return StoredRow(
        position=exported.position,
        stream=exported.stream,
        seq=exported.seq,
        type=exported.type,
        event_id=exported.event_id,
        recorded_at=_EPOCH + timedelta(microseconds=exported.recorded_at),
        occurred_at=_EPOCH + timedelta(microseconds=exported.occurred_at),
        schema_version=exported.schema_version,
        metadata=exported.metadata.encode(),
        payload=payload,
    )
