"""What all reads share: a value that must be there, shown with the position that it is as of."""

from typing import TypeVar

import msgspec

from domain.errors import NotFound

Value = TypeVar("Value")
Shown = TypeVar("Shown", bound=msgspec.Struct)


def found(value: Value | None, message: str) -> Value:
    """The value. Raises NotFound with the message when there is none."""
    if value is None:
        raise NotFound(message)
    return value


def shown_as(shown: type[Shown], view: msgspec.Struct, as_of_position: int) -> Shown:
    """The view's fields with `asOfPosition` beside them."""
    return shown(**msgspec.structs.asdict(view), as_of_position=as_of_position)
