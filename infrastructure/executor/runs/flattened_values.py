"""Values that agents nest too deeply for the log: stored as the text of their JSON instead."""

from typing import Any

import msgspec
from msgspec.structs import replace

from domain.event import MAX_PAYLOAD_DEPTH, Event, nested_deeper
from domain.run.events import HumanLoopRequested, ToolEnded, ToolStarted

LEFT_OUT = "[left out: it is nested too deeply to be written as JSON]"
_OWN_LEVELS = 2
"""Of the event around the value."""


def flattened(event: Event) -> Event:
    """The event, with a value that has too many levels as text."""
    match event:
        case ToolStarted(input=value) if (text := _text_if_deep(value)) is not None:
            return replace(event, input=text)
        case ToolEnded(output=value) if (text := _text_if_deep(value)) is not None:
            return replace(event, output=text)
        case HumanLoopRequested(default_answer=value) if (text := _text_if_deep(value)) is not None:
            return replace(event, default_answer=text)
        case _:
            return event


def _text_if_deep(value: Any) -> str | None:
    if not isinstance(value, dict | list):
        return None
    try:
        document = msgspec.json.encode(value)
    except RecursionError:
        return LEFT_OUT
    return document.decode() if nested_deeper(document, MAX_PAYLOAD_DEPTH - _OWN_LEVELS) else None
