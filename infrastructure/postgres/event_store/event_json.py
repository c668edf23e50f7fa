"""A stored event as a JSON object, spliced from the stored bytes; a payload of an older schema version is upcast."""

from collections.abc import Mapping
from functools import cache

import msgspec

from domain.event import Event, UnknownEventType, decode, encode, event_types
from domain.record import time_text
from infrastructure.postgres.event_store.reading import StoredRow


def event_json(row: StoredRow) -> bytes:
    """The event as a JSON object."""
    payload, version = row.payload or b"null", row.schema_version
    upcast = current_payload(row)
    if upcast is not row.payload:
        payload, version = upcast, event_types()[row.type].schema_version
    return (
        b'{"position":%d,"stream":%b,"seq":%d,"type":%b,"schemaVersion":%d,"eventId":%b,'
        b'"occurredAt":"%b","recordedAt":"%b","metadata":%b,"payload":%b}'
    ) % (
        row.position,
        msgspec.json.encode(row.stream),
        row.seq,
        msgspec.json.encode(row.type),
        version,
        msgspec.json.encode(row.event_id),
        time_text(row.occurred_at).encode(),
        time_text(row.recorded_at).encode(),
        row.metadata,
        payload,
    )


def current_payload(row: StoredRow) -> bytes:
    """The payload as stored, or upcast if its schema version is older than the current one."""
    outdated = versions_to_upcast()
    if not outdated or type_and_version(row.type, row.schema_version) not in outdated:
        return row.payload
    try:
        return encode(decode(row.type, row.schema_version, row.payload))
    except (UnknownEventType, msgspec.MsgspecError):
        return row.payload


@cache
def versions_to_upcast() -> frozenset[str]:
    """The (type, version) pairs that must be upcast, each as `type_and_version` writes it."""
    types: Mapping[str, type[Event]] = event_types()
    return frozenset(
        type_and_version(name, version) for name, event in types.items() for version in range(1, event.schema_version)
    )


def type_and_version(wire_name: str, version: int) -> str:
    return f"{wire_name} {version}"
