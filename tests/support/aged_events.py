"""An event type that has changed since it was first stored: version 1 had `words`, a list; version 2 has `text`."""

from typing import Any

from domain.event import Event, upcast, wire


@wire("test.reworded", version=2)
class Reworded(Event, frozen=True, kw_only=True):
    text: str


@upcast("test.reworded", 1)
def _joined(fields: dict[str, Any]) -> dict[str, Any]:
    return {"text": " ".join(fields["words"])}
