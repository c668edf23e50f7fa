"""Events on their way into the log, and as the log gives them back."""

from datetime import UTC, datetime
from typing import Protocol

import msgspec

from domain.event import Event


class Occurrence(Protocol):
    """What a fold needs to know of an event, whether it is recorded already or about to be."""

    @property
    def event(self) -> Event: ...
    @property
    def event_id(self) -> str: ...
    @property
    def occurred_at(self) -> datetime: ...


class Metadata(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Who and what caused an event. `causation_id` is the event id, effect id or request id right before it;
    `correlation_id` is shared by everything that one outside command led to."""

    actor: str
    correlation_id: str
    causation_id: str = ""
    trace_id: str = ""


def time_text(moment: datetime) -> str:
    """A time of an event as every answer writes it, such as 2026-03-04T05:06:07.89Z: UTC, no zeros at the end of the
    fraction, as Postgres writes it in JSON."""
    text = moment.astimezone(UTC).isoformat()[:-6]
    return (text.rstrip("0") if moment.microsecond else text) + "Z"


class NewEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An event to append. `event_id` is unique in its stream: appending it again changes nothing."""

    event_id: str
    event: Event
    occurred_at: datetime
    metadata: Metadata


class RecordedEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An event of the log. `position` is its place in the global log, `seq` its place in its stream (from 1);
    `recorded_at` is the database's clock and never decreases with the position."""

    position: int
    stream: str
    seq: int
    event_id: str
    event: Event
    occurred_at: datetime
    recorded_at: datetime
    metadata: Metadata
    tenant: str = "default"

    @property
    def originator_id(self) -> str:
        """The stream, by the name that the `eventsourcing` library gives it."""
        return self.stream

    @property
    def originator_version(self) -> int:
        """The seq, by the name that the `eventsourcing` library gives it."""
        return self.seq

    @property
    def timestamp(self) -> datetime:
        """The time of occurrence, by the name that the `eventsourcing` library gives it."""
        return self.occurred_at
