"""A line of an exported log: one event, with everything that its hashes are made of."""

import base64
from collections.abc import Iterable
from typing import Any

import msgspec

_encode = msgspec.json.Encoder().encode


class ExportedEvent(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Times are microseconds since 2000-01-01T00:00:00Z, hashes in hex. `metadata` and `payload` are texts, exactly as
    stored; a payload that is no UTF-8 comes as `payload_base64`."""

    position: int
    tenant: str
    stream: str
    seq: int
    type: str
    schema_version: int
    event_id: str
    occurred_at: int
    recorded_at: int
    metadata: str
    payload: str | None = None
    payload_base64: str | None = None
    payload_hash: str
    chain_hash: str


def exported_lines(rows: Iterable[tuple[Any, ...]]) -> bytes:
    """A line of JSON for each row of the query `audit/export_page`."""
    return b"".join([_encode(_event(row)) + b"\n" for row in rows])


def _event(row: tuple[Any, ...]) -> ExportedEvent:
    position, tenant, stream, seq, wire_name, version, event_id, occurred, recorded, metadata, payload, *hashes = row
    try:
        text, base64_text = payload.decode("utf-8"), None
    except UnicodeDecodeError:
        text, base64_text = None, base64.b64encode(payload).decode()
    return ExportedEvent(
        position=position,
        tenant=tenant,
        stream=stream,
        seq=seq,
        type=wire_name,
        schema_version=version,
        event_id=event_id,
        occurred_at=occurred,
        recorded_at=recorded,
        metadata=metadata,
        payload=text,
        payload_base64=base64_text,
        payload_hash=hashes[0].hex(),
        chain_hash=hashes[1].hex(),
    )
