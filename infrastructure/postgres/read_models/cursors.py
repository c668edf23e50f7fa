"""Opaque cursors of lists: where the page before ended."""

import base64
import binascii
from collections.abc import Iterable
from typing import Protocol, TypeVar

from domain.errors import InvalidInput
from projections.ports import MAX_LIMIT, Page

FROM_THE_NEWEST = 2**63 - 1


def read_cursor(cursor: str | None) -> int:
    """The position that the next page lies before. Raises InvalidInput for what no page gave."""
    if cursor is None:
        return FROM_THE_NEWEST
    try:
        text = base64.urlsafe_b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4)).decode("ascii")
        kind, _, number = text.partition(":")
        position = int(number)
        if kind == "before" and 0 < position < FROM_THE_NEWEST and str(position) == number:
            return position
    except (UnicodeError, binascii.Error, ValueError):
        pass
    raise InvalidInput("cursor", "this is no cursor of this list; use nextCursor of the page before")


def make_cursor(position: int) -> str:
    return base64.urlsafe_b64encode(f"before:{position}".encode()).decode().rstrip("=")


def checked_limit(limit: int) -> int:
    """The limit itself. Raises InvalidInput when it isn't within 1 and 500."""
    if not 1 <= limit <= MAX_LIMIT:
        raise InvalidInput("limit", f"{limit} is not between 1 and {MAX_LIMIT}")
    return limit


Listed = TypeVar("Listed", bound="HasPosition")


class HasPosition(Protocol):
    @property
    def position(self) -> int: ...


def past_page(items: Iterable[Listed], *, limit: int, cursor: str | None, as_of_position: int) -> Page[Listed]:
    """A page of what a stream's fold has made, newest first, with the cursors of the same list of today."""
    before = read_cursor(cursor)
    behind = sorted((item for item in items if item.position < before), key=lambda item: -item.position)
    shown = tuple(behind[: checked_limit(limit)])
    following = make_cursor(shown[-1].position) if len(behind) > limit else None
    return Page(items=shown, next_cursor=following, as_of_position=as_of_position)
