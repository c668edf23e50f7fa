"""Events as their rows hold them, and the way from there to domain events."""

from datetime import datetime
from typing import Any

import msgspec

from domain.event import decode
from domain.record import Metadata, RecordedEvent

_metadata_decoder = msgspec.json.Decoder(Metadata)


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
    return RecordedEvent(
        position=row.position,
        stream=row.stream,
        seq=row.seq,
        event_id=row.event_id,
        event=decode(row.type, row.schema_version, row.payload),
        occurred_at=row.occurred_at,
        recorded_at=row.recorded_at,
        metadata=decode_metadata(row.metadata),
        tenant=tenant,
    )


def decode_metadata(metadata: bytes) -> Metadata:
    return _metadata_decoder.decode(metadata)


def stored_row_factory(_cursor: Any) -> Any:
    """A psycopg row factory for the columns of the queries named read_* and find_event."""
    return _stored_row


def _stored_row(values: Any) -> StoredRow:
    return StoredRow(*values)
