"""Query parameters, decoded into structs as strictly as bodies are."""

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import cache
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta

from interfaces.http_conventions.field_paths import validation_problem
from interfaces.http_conventions.problems import invalid

QueryType = TypeVar("QueryType", bound="Query")
MAX_INT64 = 2**63 - 1
DEFAULT_WAIT_MS = 60_000
MAX_WAIT_MS = 600_000
MAX_LIMIT = 1000
YEAR_MS = 31_536_000_000

_NUMBER = re.compile(r"-?\d{1,30}", re.ASCII)
_TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT", re.ASCII)

Number = Annotated[int, Meta(ge=0, le=MAX_INT64)]
Speed = Annotated[float, Meta(ge=0, le=10_000)]
WaitMs = Annotated[int, Meta(ge=0, le=MAX_WAIT_MS)]
Limit = Annotated[int, Meta(ge=1, le=MAX_LIMIT)]
PageLimit = Annotated[int, Meta(ge=1, le=500)]
Text = Annotated[str, Meta(max_length=500)]
Timestamp = Annotated[datetime, Meta(tz=True)]


class Query(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Base of all queries; an endpoint without query parameters uses it as it is."""


class WaitQuery(Query, frozen=True, kw_only=True):
    """`wait_ms`: how long to wait for the outcome; after that the answer is 202 with `pending: true`."""

    wait_ms: WaitMs = DEFAULT_WAIT_MS


class ReadQuery(Query, frozen=True, kw_only=True):
    """`min_position`: wait, 10 s at most, until the read model has reached this position."""

    min_position: Number | None = None


class ListAsOfQuery(ReadQuery, frozen=True, kw_only=True):
    """The state as it was after the last event recorded at or before `at`, or after the log's position `at_position`;
    one of them at most."""

    at: Timestamp | None = None
    at_position: Number | None = None


class AsOfQuery(ReadQuery, frozen=True, kw_only=True):
    """The state as it was after the stream's event `at_seq`, after the last event recorded at or before `at`, or after
    the log's position `at_position`; one of them at most."""

    at_seq: Number | None = None
    at: Timestamp | None = None
    at_position: Number | None = None


def decode_query(query_type: type[QueryType], pairs: Iterable[tuple[str, str]]) -> QueryType:
    """The query as its struct. Raises Problem 400 naming the parameter. An unknown parameter is an error, too: a
    misspelt filter would otherwise return everything."""
    kinds, choices = _parameters(query_type), _choices(query_type)
    given: dict[str, Any] = {}
    for name, value in pairs:
        kind = kinds.get(name)
        if kind is None:
            raise invalid(name[:100] or "query", f"is no parameter of this route; {_known(kinds)}")
        if "\0" in value:
            raise invalid(name, "holds a NUL character")
        if kind == "many":
            given.setdefault(name, []).append(value)
        elif name in given:
            raise invalid(name, "is given twice")
        else:
            given[name] = _checked_text(name, kind, value, choices.get(name))
    try:
        query = msgspec.convert(given, query_type, strict=False)
    except msgspec.ValidationError as error:
        raise validation_problem(error) from error
    for name, wire in zip(query_type.__struct_fields__, query_type.__struct_encode_fields__, strict=True):
        value = getattr(query, name)
        if isinstance(value, datetime):
            try:
                value.astimezone(UTC)
            except OverflowError as error:
                raise invalid(wire, "is out of range") from error
    return query


def _known(kinds: dict[str, str]) -> str:
    return f"it takes {', '.join(kinds)}" if kinds else "it takes none"


def _checked_text(name: str, kind: str, value: str, choices: tuple[str, ...] | None) -> str:
    if choices and value not in choices:
        raise invalid(name, f"{value[:40]!r} is none of {', '.join(choices)}")
    if kind == "number" and not _NUMBER.fullmatch(value):
        raise invalid(name, f"{value[:40]!r} is not a whole number")
    if kind == "timestamp":
        # A plus sign of a time zone that was not percent-encoded arrives as a space.
        value = value.replace(" ", "+")
        if not _TIMESTAMP.match(value):
            raise invalid(name, f"{value[:40]!r} is not a time with its zone, such as 2026-03-04T05:06:07Z")
    return value


@cache
def _parameters(query_type: type[Query]) -> dict[str, str]:
    """Wire name → `many`, `timestamp`, `number` or `text`."""
    hints = get_type_hints(query_type)
    return {
        wire: _kind(hints[name])
        for name, wire in zip(query_type.__struct_fields__, query_type.__struct_encode_fields__, strict=True)
    }


@cache
def _choices(query_type: type[Query]) -> dict[str, tuple[str, ...]]:
    """Wire name → the values of a parameter that takes no others."""
    hints = get_type_hints(query_type)
    found = {
        wire: tuple(value for part in (hints[name], *get_args(hints[name])) for value in _values(part))
        for name, wire in zip(query_type.__struct_fields__, query_type.__struct_encode_fields__, strict=True)
    }
    return {wire: values for wire, values in found.items() if values}


def _values(hint: Any) -> tuple[str, ...]:
    return get_args(hint) if get_origin(hint) is Literal else ()


def _kind(hint: Any) -> str:
    if get_origin(hint) is tuple:
        return "many"
    choices = {hint, *get_args(hint)}
    if datetime in choices:
        return "timestamp"
    return "number" if int in choices else "text"
