"""Events to append, and recorded events."""

from datetime import UTC, datetime
from typing import Protocol

import msgspec

from domain.event import Event


class Occurrence(Protocol):
    """What a fold reads of an event: common to recorded events and events to append."""

    @property
    def event(self) -> Event: ...
    @property
    def event_id(self) -> str: ...
    @property
    def occurred_at(self) -> datetime: ...


class Metadata(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Who and what caused an event. `causation_id`: the id of the event, effect or request that caused it directly;
    `correlation_id`: shared by all consequences of one command from outside. `span_id`: of the request's span, where
    requests are traced."""

    actor: str
    correlation_id: str
    causation_id: str = ""
    trace_id: str = ""
    span_id: str = ""


def time_text(time: datetime) -> str:
    """The time format of all responses, such as 2026-03-04T05:06:07.89Z: UTC, without trailing zeros in the fraction,
    as Postgres writes times in JSON."""
    text = time.astimezone(UTC).isoformat()[:-6]
    return (text.rstrip("0") if time.microsecond else text) + "Z"


class NewEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An event to append. `event_id` is unique in its stream: appending the same event again changes nothing."""

    event_id: str
    event: Event
    occurred_at: datetime
    metadata: Metadata


class RecordedEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An event of the log. `position`: its number in the whole log, `seq`: its number in its stream, both from 1.
    `recorded_at` is the database's clock and never decreases as the position grows."""

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
