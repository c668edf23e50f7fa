"""The base of every event, and the registry that maps wire names to event types.

Events are stored data: their wire names and schema versions do not depend on module paths. The stored payload is the
JSON object of the event's own fields in camelCase, defaults left out. No payload has a top-level field named like one
of `ENVELOPE_FIELDS`, so that a live stream can put its envelope around the stored bytes without decoding them.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, TypeVar

import msgspec

ENVELOPE_FIELDS = frozenset({"type", "runId", "sessionId", "provider", "seq", "position", "ts"})
MAX_PAYLOAD_BYTES = 256 * 1024
MAX_PAYLOAD_DEPTH = 110
"""Of nested arrays and objects: well below what any reader of the log can decode."""


class Event(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """An immutable fact. Subclasses are registered by `@wire`."""

    wire_name: ClassVar[str] = ""
    schema_version: ClassVar[int] = 1


class WrittenByNewerVersion(LookupError):
    """Only a newer version of Fleetlog can read a stored event: a deploy is under way, or was rolled back."""


class UnknownEventType(WrittenByNewerVersion):
    """This code has no event type of that wire name."""


class NewerSchemaVersion(WrittenByNewerVersion):
    """The stored schema version is newer than that of this code."""


EventType = TypeVar("EventType", bound=type[Event])
Upcast = Callable[[dict[str, Any]], dict[str, Any]]

JSON_STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)'
"""A string of JSON. Unrolled: letter by letter, `(?:[^"\\]|\\.)*` takes ten times as long. One without an end goes to
the end of the text, and nothing is tried twice: a search takes linear time, whatever the text is."""
_STRUCTURE = re.compile(JSON_STRING + rb"|[\[\]{}]", re.DOTALL)
_types: dict[str, type[Event]] = {}
_upcasts: dict[tuple[str, int], Upcast] = {}
_encoder = msgspec.json.Encoder()
_decoders: dict[str, msgspec.json.Decoder[Any]] = {}


def wire(name: str, version: int = 1) -> Callable[[EventType], EventType]:
    """Register an event type under its wire name, such as `run.started`, and schema version."""

    def register(event_type: EventType) -> EventType:
        if name in _types:
            raise ValueError(f"wire name {name!r} is taken by {_types[name].__qualname__}")
        collisions = ENVELOPE_FIELDS & set(event_type.__struct_encode_fields__)
        if collisions:
            raise ValueError(f"{name}: fields {sorted(collisions)} collide with the stream envelope")
        event_type.wire_name = name
        event_type.schema_version = version
        _types[name] = event_type
        _decoders[name] = msgspec.json.Decoder(event_type)
        return event_type

    return register


def upcast(name: str, from_version: int) -> Callable[[Upcast], Upcast]:
    """Register the step that turns a stored payload of `from_version` into that of the next version."""

    def register(step: Upcast) -> Upcast:
        _upcasts[name, from_version] = step
        return step

    return register


def nested_deeper(document: bytes, depth: int) -> bool:
    """Whether a JSON document nests arrays and objects deeper than that, without decoding it."""
    if document.count(b"[") + document.count(b"{") <= depth:
        return False
    level = 0
    for token in _STRUCTURE.finditer(document):
        mark = token.group()
        level += mark in b"[{"
        level -= mark in b"]}"
        if level > depth:
            return True
    return False


def event_types() -> Mapping[str, type[Event]]:
    """All registered event types by wire name."""
    return dict(_types)


def encode(event: Event) -> bytes:
    """The stored payload of an event: UTF-8 JSON."""
    return _encoder.encode(event)


def decode(wire_name: str, schema_version: int, payload: bytes) -> Event:
    """The event of a stored payload, upcast if an older version wrote it.

    Raises UnknownEventType, NewerSchemaVersion, or msgspec.ValidationError for a payload that does not match its type.
    """
    event_type = _types.get(wire_name)
    if event_type is None:
        raise UnknownEventType(f"event type {wire_name!r} is not known to this version of Fleetlog")
    if schema_version > event_type.schema_version:
        raise NewerSchemaVersion(
            f"{wire_name} has schema version {schema_version}, this code knows {event_type.schema_version}"
        )
    if schema_version == event_type.schema_version:
        return _decoders[wire_name].decode(payload)  # type: ignore[no-any-return]
    fields: dict[str, Any] = msgspec.json.decode(payload)
    for version in range(schema_version, event_type.schema_version):
        fields = _upcasts[wire_name, version](fields)
    return msgspec.convert(fields, event_type)
