"""An exported file, read as the log of an application of the `eventsourcing` library.

Its PERSISTENCE_MODULE is `infrastructure.audit.exported_file`; EXPORT_FILE is the path, FLEETLOG_TENANT the tenant
(`default`). Opening reads the file once, to find where each of the tenant's events is: afterwards 24 bytes an event and
the names of its streams are kept in memory. Hashes are not verified here: that is `script/verify-log`'s.
"""

import base64
import os
from array import array
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import islice, takewhile
from pathlib import Path
from typing import Annotated, Any, NoReturn
from uuid import UUID

import msgspec
from eventsourcing.domain import DomainEventProtocol
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
from infrastructure.eventsourcing_library.mapper import FleetlogMapper, LoggedEvent, LoggedNotification
from infrastructure.eventsourcing_library.paged_recorder import PagedRecorder
from infrastructure.postgres.event_store.exported_event import ExportedEvent
from infrastructure.postgres.event_store.reading import PAGE_BYTES, PAGE_EVENTS, StoredRow

_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_decode = msgspec.json.Decoder(ExportedEvent).decode
_BLOCK_BYTES = 1024 * 1024
_LONGEST_LINE = 16 * _BLOCK_BYTES
"""Metadata and payload have 256 KiB each, and JSON takes up to six bytes for one of theirs."""


class NotAnExport(OSError):
    """The file is missing, closed or changed meanwhile, or holds something else than `fleetlog export` writes; the
    message names the line."""


class ReadsAlone(InterfaceError):
    """An exported file can't be written to, and tracks nothing."""


_Count = Annotated[int, msgspec.Meta(ge=1, le=2**63 - 1)]


class _LinePosition(msgspec.Struct, frozen=True, gc=False):
    position: _Count
    tenant: str
    stream: str
    seq: _Count


_line_position = msgspec.json.Decoder(_LinePosition).decode


class ExportedFile:
    """The events of one tenant, by their order in the file. For any number of threads."""

    def __init__(self, path: Path, *, tenant: str) -> None:
        self.path, self.tenant = path, tenant
        self.end = 0
        """The position of the file's last event, of whichever tenant; 0 without events."""
        self._positions, self._offsets, self._lengths = array("q"), array("q"), array("I")
        self._streams: dict[str, array[int]] = {}
        try:
            self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise NotAnExport(f"{path} can't be read: {error.strerror}") from error
        except ValueError as error:  # a NUL
            raise NotAnExport(f"{str(path)!r} can't be read: {error}") from error
        try:
            self._find_lines()
        except BaseException:
            self.close()
            raise

    def _find_lines(self) -> None:
        offset = 0
        seqs: dict[str, int] = {}
        for number, line in enumerate(self._lines_from(0), 1):
            try:
                place = _line_position(line)
            except (msgspec.MsgspecError, UnicodeDecodeError) as error:
                raise NotAnExport(f"{self.path} is no whole export: line {number}: {error}") from error
            if place.position <= self.end:
                raise NotAnExport(f"{self.path} is no export: line {number} has position {place.position}")
            self.end = place.position
            if place.tenant == self.tenant:
                if seqs.setdefault(place.stream, place.seq - 1) != place.seq - 1:
                    raise NotAnExport(
                        f"{self.path} is no whole export: line {number}: seq {place.seq} of {place.stream} follows "
                        f"seq {seqs[place.stream]}"
                    )
                seqs[place.stream] = place.seq
                self._streams.setdefault(place.stream, array("I")).append(len(self._positions))
                self._positions.append(place.position)
                self._offsets.append(offset)
                self._lengths.append(len(line))
            offset += len(line)

    @property
    def last_position(self) -> int | None:
        return self._positions[-1] if self._positions else None

    def event(self, number: int) -> StoredRow:
        """The event with this number among the tenant's, counted from 0."""
        with self.naming_its_line(number):
            return _row(_decode(self._read(self._lengths[number], self._offsets[number])))

    @contextmanager
    def naming_its_line(self, number: int) -> Iterator[None]:
        """Raises NotAnExport for what decoders raise about the event with this number."""
        try:
            yield
        except (msgspec.MsgspecError, ValueError, OverflowError, KeyError) as error:
            offset, line = self._offsets[number], 1
            for begin in range(0, offset, _BLOCK_BYTES):
                line += self._read(min(_BLOCK_BYTES, offset - begin), begin).count(b"\n")
            raise NotAnExport(f"{self.path} is no export: line {line}: {error}") from error

    def lines(self, after: int, up_to: int) -> Iterator[bytes]:
        """The lines of all tenants with positions in (after, up_to], as they are in the file, some at a time."""
        before = self.number_after(after) - 1
        chosen: list[bytes] = []
        size = position = 0
        for line in self._lines_from(self._offsets[before] if before >= 0 else 0):
            try:
                position = _line_position(line).position
            except (msgspec.MsgspecError, UnicodeDecodeError) as error:
                raise self._changed() from error
            if position > up_to:
                break
            if position > after:
                chosen.append(line)
                size += len(line)
            if size >= _BLOCK_BYTES:
                yield b"".join(chosen)
                chosen, size = [], 0
        if position < min(up_to, self.end):
            raise self._changed()
        if chosen:
            yield b"".join(chosen)

    def _read(self, size: int, offset: int) -> bytes:
        """All of these bytes."""
        found = self._read_some(size, offset)
        if len(found) < size:
            raise self._changed()
        return found

    def _read_some(self, size: int, offset: int) -> bytes:
        if self._descriptor < 0:
            raise NotAnExport(f"{self.path} has been closed here; open it again")
        try:
            return os.pread(self._descriptor, size, offset)
        except OSError as error:
            raise NotAnExport(f"{self.path} can't be read: {error.strerror}") from error

    def _changed(self) -> NotAnExport:
        return NotAnExport(f"{self.path} has been changed since it was opened; open it again")

    def _lines_from(self, offset: int) -> Iterator[bytes]:
        """With their line feeds. Any number of threads may read at once."""
        begun = b""
        while block := self._read_some(_BLOCK_BYTES, offset):
            offset += len(block)
            *whole, begun = (begun + block).split(b"\n")
            for line in whole:
                yield line + b"\n"
            if len(begun) > _LONGEST_LINE:
                raise NotAnExport(f"{self.path} is no export: a line has more than {_LONGEST_LINE:,} bytes")
        if begun:
            yield begun

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


class ExportedFileRecorder(PagedRecorder):
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
        wanted = takewhile(lambda each: stop is None or each.id <= stop, self.notifications_after(after, topics))
        return list(islice(wanted, limit))

    def notifications_page(self, after: int, topics: Sequence[str] = ()) -> list[Notification]:
        page: list[Notification] = []
        size = 0
        for notification in self.notifications_after(after, topics):
            page.append(notification)
            size += len(notification.state)
            if len(page) == PAGE_EVENTS or size >= PAGE_BYTES:
                break
        return page

    def notifications_after(self, position: int, topics: Sequence[str] = ()) -> Iterator[Notification]:
        """Up to the file's end, read one by one."""
        for number in range(self._file.number_after(position), len(self._file)):
            row = self._file.event(number)
            if not topics or row.type in topics:
                yield LoggedNotification(
                    originator_id=row.stream,
                    originator_version=row.seq,
                    topic=row.type,
                    state=row.payload,
                    id=row.position,
                    row=row,
                    tenant=self._file.tenant,
                )

    def last_position(self) -> int:
        return self._file.end

    def exported_lines(self, after: int, up_to: int) -> Iterator[bytes]:
        return self._file.lines(after, up_to)

    def max_notification_id(self) -> int | None:
        return self._file.last_position

    def subscribe(self, gt: int | None = None, topics: Sequence[str] = ()) -> Subscription[ApplicationRecorder]:
        return ExportedFileSubscription(self, gt=gt, topics=topics)


class ExportedFileSubscription(Subscription[ExportedFileRecorder]):
    def __init__(self, recorder: ExportedFileRecorder, gt: int | None = None, topics: Sequence[str] = ()) -> None:
        super().__init__(recorder, gt, topics)
        self._notifications = recorder.notifications_after(gt or 0, topics)

    def __next__(self) -> Notification:
        if self._has_been_stopped:
            raise StopIteration
        return next(self._notifications)


class ExportedFileMapper(Mapper[Any]):
    """Another mapper, which names the line of an event that it can't read."""

    def __init__(self, mapper: Mapper[Any], file: ExportedFile) -> None:
        self._mapper, self._file = mapper, file

    def to_stored_event(self, domain_event: DomainEventProtocol[Any]) -> StoredEvent:
        return self._mapper.to_stored_event(domain_event)

    def to_domain_event(self, stored_event: StoredEvent) -> Any:
        if not isinstance(stored_event, LoggedEvent | LoggedNotification):
            return self._mapper.to_domain_event(stored_event)
        with self._file.naming_its_line(self._file.number_after(stored_event.row.position - 1)):
            return self._mapper.to_domain_event(stored_event)


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
        mapper = super().mapper(transcoder=transcoder, mapper_class=mapper_class or FleetlogMapper)
        return ExportedFileMapper(mapper, self._file)

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
    payload = (
        base64.b64decode(exported.payload_base64 or "", validate=True)
        if exported.payload is None
        else exported.payload.encode()
    )
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
