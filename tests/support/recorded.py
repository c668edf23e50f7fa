"""Builders of events to append (`new_event`), and of recorded ones (`recorded`) for tests without a database."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from domain.event import Event
from domain.record import Metadata, NewEvent, RecordedEvent

EPOCH = datetime(2026, 3, 1, 12, tzinfo=UTC)
OCCURRED_AT = datetime(2026, 3, 4, 5, 6, 7, 891011, tzinfo=UTC)


def new_event(
    event: Event, event_id: str, at: datetime = OCCURRED_AT, *, actor: str = "tester", correlation_id: str = "c"
) -> NewEvent:
    return NewEvent(
        event_id=event_id,
        event=event,
        occurred_at=at,
        metadata=Metadata(actor=actor, correlation_id=correlation_id),
    )


def recorded(
    stream: str, events: Sequence[Event], *, first_position: int = 101, first_seq: int = 1
) -> list[RecordedEvent]:
    """The events as one stream, the one with seq n at EPOCH + n seconds."""
    return [
        RecordedEvent(
            position=first_position + index,
            stream=stream,
            seq=first_seq + index,
            event_id=f"{stream}/{first_seq + index}",
            event=event,
            occurred_at=EPOCH + timedelta(seconds=first_seq + index),
            recorded_at=EPOCH + timedelta(seconds=first_seq + index),
            metadata=Metadata(actor="tester", correlation_id="c"),
        )
        for index, event in enumerate(events)
    ]


def as_json(value: Any) -> Any:
    """The value as a client of the API gets it."""
    return msgspec.json.decode(msgspec.json.encode(value))


def at(seconds: int) -> str:
    """The JSON text of the time `seconds` after EPOCH."""
    text: str = as_json(EPOCH + timedelta(seconds=seconds))
    return text
