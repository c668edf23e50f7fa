"""Streams of recorded events for specs of folds: positions and times of their own, no database."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from domain.event import Event
from domain.record import Metadata, RecordedEvent

EPOCH = datetime(2026, 3, 1, 12, tzinfo=UTC)


def recorded(
    stream: str, events: Sequence[Event], *, first_position: int = 101, first_seq: int = 1
) -> list[RecordedEvent]:
    """The events as one stream, a second apart, the first at 12:00:01."""
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
    """What a client gets of it."""
    return msgspec.json.decode(msgspec.json.encode(value))


def at(seconds: int) -> str:
    """The JSON of the time `seconds` after 12:00."""
    text: str = as_json(EPOCH + timedelta(seconds=seconds))
    return text
