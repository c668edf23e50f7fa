"""Converts a run's `providerOptions` to the provider's struct."""

from typing import TypeVar

import msgspec

from domain.errors import InvalidInput
from domain.run.values import RunSpec

Options = TypeVar("Options", bound=msgspec.Struct)


def options_as(kind: type[Options], spec: RunSpec) -> Options:
    """Options that `kind` has no field for are ignored (`unknown_options` warns of them). Raises InvalidInput with the
    field's name as in the API."""
    fields = set(kind.__struct_encode_fields__)
    known = {name: value for name, value in spec.provider_options.items() if name in fields}
    for name, value in known.items():
        try:
            msgspec.convert({name: value}, kind)
        except msgspec.ValidationError as error:
            raise InvalidInput(f"providerOptions.{name}", str(error).partition(" - at ")[0]) from error
    return msgspec.convert(known, kind)
