"""Maps in immutable states that grow with their stream: an entry is copied once per doubling of the map, not once per
event, so that folding a stream takes time in proportion to its length."""

from collections.abc import Mapping
from typing import TypeVar

Value = TypeVar("Value")
Levels = tuple[dict[str, Value], ...]
"""Each level has more than the entries of the one after it. Of two entries of one key the later level's counts."""


def with_entry(levels: Levels[Value], key: str, value: Value) -> Levels[Value]:
    """`levels` with one more entry, or another value of a key."""
    newest = {key: value}
    while levels and len(levels[-1]) <= len(newest):
        newest = {**levels[-1], **newest}
        levels = levels[:-1]
    return (*levels, newest)


def entry(levels: Levels[Value], key: str) -> Value | None:
    """The value of a key; None for an unknown one."""
    level: Mapping[str, Value] | None = next((level for level in reversed(levels) if key in level), None)
    return None if level is None else level[key]
