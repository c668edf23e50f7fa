"""Events as their rows hold them, and the way from there to domain events."""

from datetime import datetime
from typing import Any

import msgspec

from domain.event import decode
from domain.record import Metadata, RecordedEvent

PAGE_EVENTS = 500
PAGE_BYTES = 8 * 1024 * 1024
"""A page of the log ends at so many events, or when their payloads have reached so many bytes."""

decode_metadata = msgspec.json.Decoder(Metadata).decode
"""The metadata of a stored event, from UTF-8 JSON."""


class StoredRow(msgspec.Struct, frozen=True, gc=False):
    """An event of the log, undecoded: `metadata` and `payload` are the stored UTF-8 JSON bytes."""

    position: int
    stream: str
    seq: int
    type: str
    event_id: str
    recorded_at: datetime
    occurred_at: datetime
    schema_version: int
    metadata: bytes
    payload: bytes


def recorded_event(row: StoredRow, tenant: str) -> RecordedEvent:
    """Decoded and upcast. Raises what domain.event.decode raises."""
    return decoded(
        row.position,
        row.stream,
        row.seq,
        row.type,
        row.schema_version,
        row.event_id,
        row.occurred_at,
        row.recorded_at,
        row.metadata,
        row.payload,
        tenant,
    )


def decoded(
    position: int,
    stream: str,
    seq: int,
    wire_name: str,
    schema_version: int,
    event_id: str,
    occurred_at: datetime,
    recorded_at: datetime,
    metadata: bytes,
    payload: bytes,
    tenant: str,
) -> RecordedEvent:
    """`recorded_event` for the columns of `projections/read_page`, without a StoredRow in between, which would cost a
    quarter more."""
    return RecordedEvent(
        position=position,
        stream=stream,
        seq=seq,
        event_id=event_id,
        event=decode(wire_name, schema_version, payload),
        occurred_at=occurred_at,
        recorded_at=recorded_at,
        metadata=decode_metadata(metadata),
        tenant=tenant,
    )


def stored_row_factory(_cursor: Any) -> Any:
    """A psycopg row factory for the columns of the queries named read_* and find_event."""
    return _stored_row


def _stored_row(values: Any) -> StoredRow:
    return StoredRow(*values)
