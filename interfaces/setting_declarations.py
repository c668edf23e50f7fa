"""How a setting is declared, as a field of a dataclass."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeVar, cast

from interfaces.setting_values import InvalidValue, Kind

Value = TypeVar("Value")
DECLARATION: Final = "declaration"


@dataclass(frozen=True, kw_only=True)
class Declaration:
    """How one setting is read. `parse` raises ValueError for a malformed text; `allowed` says which texts it takes."""

    variable: str
    parse: Callable[[str], object]
    allowed: str
    doc: str
    shown_default: str
    secret: bool = False

    def read(self, text: str) -> object:
        """The value. Raises ValueError, whose text says what is wrong and what is allowed, without a secret."""
        try:
            return self.parse(text)
        except ValueError as error:
            shown = "the value (not shown: it is a secret)" if self.secret else f"`{text}`"
            reason = f" ({error})" if isinstance(error, InvalidValue) else ""
            raise ValueError(f"{shown} is not allowed{reason}; allowed is {self.allowed}.") from None


def setting(
    variable: str,
    kind: Kind[Value],
    doc: str,
    *,
    default: Value,
    shown_default: str | None = None,
    secret: bool = False,
) -> Value:
    """A field of the settings: a value of the declared type to whoever reads it."""
    declaration = Declaration(
        variable=variable,
        parse=kind.parse,
        allowed=kind.allowed,
        doc=doc,
        shown_default=str(default) if shown_default is None else shown_default,
        secret=secret,
    )
    # The dataclass replaces this field object by a value of the declared type.
    field = dataclasses.field(default=cast("Any", default), metadata={DECLARATION: declaration}, repr=not secret)
    return cast("Value", field)
