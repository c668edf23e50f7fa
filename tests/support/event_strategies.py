"""Hypothesis strategies for events and the values they are made of, built from their types: a new field is covered at
once, a type that this builder doesn't know fails loudly."""

import types
from datetime import UTC, datetime
from functools import cache
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec
from hypothesis import strategies as st

from domain.event import Event

# Any Unicode that JSON can carry: a lone surrogate is no character.
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
NUMBER = st.integers(min_value=-(2**53), max_value=2**53)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBER | TEXT,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXT, inner, max_size=2),
    max_leaves=4,
)
SCALARS: dict[Any, st.SearchStrategy[Any]] = {
    str: TEXT,
    int: NUMBER,
    float: st.floats(allow_nan=False, allow_infinity=False),
    bool: st.booleans(),
    datetime: st.datetimes(min_value=datetime(1970, 1, 1), max_value=datetime(2200, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001 - hypothesis wants naive bounds
    Any: JSON,
    type(None): st.none(),
}


@cache
def instances(of: type[msgspec.Struct]) -> st.SearchStrategy[Any]:
    """Instances of a struct; optional fields are sometimes left at their defaults."""
    hints = get_type_hints(of)
    required, optional = {}, {}
    for field in msgspec.structs.fields(of):
        target = required if field.required else optional
        target[field.name] = _of_type(hints[field.name])
    return st.fixed_dictionaries(required, optional=optional).map(lambda values: of(**values))


def any_event(*event_types: type[Event]) -> st.SearchStrategy[Event]:
    return st.one_of([instances(event_type) for event_type in event_types])


def _of_type(hint: Any) -> st.SearchStrategy[Any]:
    if hint in SCALARS:
        return SCALARS[hint]
    origin, args = get_origin(hint), get_args(hint)
    if origin is Literal:
        return st.sampled_from(args)
    if origin in {Union, types.UnionType}:
        return st.one_of([_of_type(arg) for arg in args])
    if origin is tuple and args[1:] == (Ellipsis,):
        return st.lists(_of_type(args[0]), max_size=3).map(tuple)
    if origin is dict:
        return st.dictionaries(_of_type(args[0]), _of_type(args[1]), max_size=3)
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        return instances(hint)
    raise TypeError(f"no strategy for {hint!r}; teach tests/support/event_strategies.py")
