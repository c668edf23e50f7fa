"""Maps between the log's rows and the `eventsourcing` library's stored events and notifications.

The library's own mapper takes events apart with `vars()`, which msgspec structs don't have. This one maps Fleetlog's
events by wire name, with upcasting, and leaves the library's (aggregate events, snapshots, dataclasses) to its parent.
Compression and encryption apply to the library's events alone: a wire event's payload stays readable JSON.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import msgspec
from eventsourcing.domain import DomainEventProtocol
from eventsourcing.persistence import Mapper, MapperDeserialisationError, Notification, StoredEvent

from application import every_event  # noqa: F401  a log has events of all types
from domain.event import encode, event_types
from domain.identifiers import DEFAULT_TENANT
from domain.record import Metadata, NewEvent, RecordedEvent
from infrastructure.postgres.event_store.append_request import EncodedEvent, encode_metadata, encoded_event
from infrastructure.postgres.event_store.reading import StoredRow, recorded_event

LIBRARY_ACTOR = "eventsourcing"


class SequencedEvent(msgspec.Struct, frozen=True, kw_only=True):
    """A new event with its place in its stream, for the library's Application.save."""

    stream: str
    seq: int
    new: NewEvent

    @property
    def originator_id(self) -> str:
        return self.stream

    @property
    def originator_version(self) -> int:
        return self.seq


class _ComparesAsStoredEvent:
    """Equal to any StoredEvent with the same id, version, topic and state, as the library's callers expect."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, StoredEvent) and _identity(self) == _identity(other)

    def __hash__(self) -> int:
        return hash(_identity(self))


def _identity(stored: Any) -> tuple[str, int, str, bytes]:
    return str(stored.originator_id), stored.originator_version, stored.topic, stored.state


@dataclass(frozen=True, eq=False)
class UnloggedEvent(_ComparesAsStoredEvent, StoredEvent):
    """A stored event on its way into the log, with the columns that the library doesn't know. One of the library's own
    has no event id and no metadata yet."""

    occurred_at: datetime
    event_id: str = ""
    schema_version: int = 1
    metadata: bytes = b""


@dataclass(frozen=True, eq=False)
class LoggedEvent(_ComparesAsStoredEvent, StoredEvent):
    """A stored event as the log gives it back."""

    row: StoredRow = field(repr=False)
    tenant: str = DEFAULT_TENANT


@dataclass(frozen=True, eq=False)
class LoggedNotification(_ComparesAsStoredEvent, Notification):
    """A notification as the log gives it back. Its id is the position."""

    row: StoredRow = field(repr=False)
    tenant: str = DEFAULT_TENANT


def encoded(stored: StoredEvent) -> EncodedEvent:
    """The row of any stored event. Raises AppendRefused."""
    if not isinstance(stored, UnloggedEvent):
        return _library_event(stored, datetime.now(UTC))
    if not stored.event_id:
        return _library_event(stored, stored.occurred_at)
    return encoded_event(
        stored.event_id, stored.topic, stored.schema_version, stored.occurred_at, stored.metadata, stored.state
    )


def _library_event(stored: StoredEvent, occurred_at: datetime) -> EncodedEvent:
    event_id = uuid4().hex
    metadata = encode_metadata(Metadata(actor=LIBRARY_ACTOR, correlation_id=event_id))
    return encoded_event(event_id, stored.topic, 1, occurred_at, metadata, stored.state)


class FleetlogMapper(Mapper[Any]):
    """The library's mapper, with Fleetlog's events added."""

    def to_stored_event(self, domain_event: DomainEventProtocol[Any] | SequencedEvent | RecordedEvent) -> StoredEvent:
        if isinstance(domain_event, SequencedEvent):
            new: NewEvent | RecordedEvent = domain_event.new
        elif isinstance(domain_event, RecordedEvent):
            new = domain_event
        else:
            return self._library_stored_event(domain_event)
        return UnloggedEvent(
            originator_id=domain_event.originator_id,
            originator_version=domain_event.originator_version,
            topic=new.event.wire_name,
            state=encode(new.event),
            occurred_at=new.occurred_at,
            event_id=new.event_id,
            schema_version=new.event.schema_version,
            metadata=encode_metadata(new.metadata),
        )

    def _library_stored_event(self, domain_event: DomainEventProtocol[Any]) -> StoredEvent:
        stored = super().to_stored_event(domain_event)
        occurred_at = getattr(domain_event, "timestamp", None)
        if not isinstance(occurred_at, datetime) or occurred_at.tzinfo is None:
            return stored
        return UnloggedEvent(
            originator_id=stored.originator_id,
            originator_version=stored.originator_version,
            topic=stored.topic,
            state=stored.state,
            occurred_at=occurred_at,
        )

    def to_domain_event(self, stored_event: StoredEvent) -> Any:
        """A RecordedEvent for a wire name, else what the library makes of its topic.

        Raises what domain.event.decode raises, or MapperDeserialisationError.
        """
        if ":" in stored_event.topic:
            return super().to_domain_event(stored_event)
        if isinstance(stored_event, LoggedEvent | LoggedNotification):
            return recorded_event(stored_event.row, stored_event.tenant)
        if stored_event.topic in event_types():
            raise MapperDeserialisationError(
                f"{stored_event.topic} of {stored_event.originator_id} was not read from the log: its event id, "
                "times and metadata are unknown"
            )
        return super().to_domain_event(stored_event)
