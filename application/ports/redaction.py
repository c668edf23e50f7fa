"""Keeps what the installation knows as secret out of what callers send, before it is recorded."""

from collections.abc import Sequence
from typing import Protocol, TypeVar

import msgspec

Value = TypeVar("Value", bound=msgspec.Struct)


class Redact(Protocol):
    def __call__(self, value: Value, also: Sequence[str] = ()) -> Value:
        """The value with every secret in its texts replaced, and `also`; the very same if there is none."""
        ...
