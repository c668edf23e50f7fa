"""Small events and builders for tests of the log."""

import hashlib
import uuid

from domain.event import Event, wire
from domain.record import Metadata, NewEvent
from tests.support.recorded import OCCURRED_AT


@wire("test.noted")
class Noted(Event, frozen=True, kw_only=True):
    text: str = ""


@wire("test.counted")
class Counted(Event, frozen=True, kw_only=True):
    number: int


def new_event(text: str = "", *, event_id: str = "", actor: str = "tester") -> NewEvent:
    """A `test.noted` with a fresh event id, or the given one."""
    return NewEvent(
        event_id=event_id or uuid.uuid4().hex,
        event=Noted(text=text),
        occurred_at=OCCURRED_AT,
        metadata=Metadata(actor=actor, correlation_id="correlation-1"),
    )


def new_events(*texts: str) -> list[NewEvent]:
    return [new_event(text) for text in texts]


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()
