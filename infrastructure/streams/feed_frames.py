"""An event of the global log as JSON and as an SSE frame, and whether a filter wants it.

    id: 9
    event: message.delta
    data: {"position":9,"stream":"run:r","seq":7,"type":"message.delta","schemaVersion":1,"eventId":"…",
           "occurredAt":"…","recordedAt":"…","metadata":{"actor":"…","correlationId":"…"},"payload":{"text":"hi"}}

(on one line). Metadata and payload are the stored bytes; a payload of an older schema version comes upcast, with its
new version.
"""

import msgspec

from application.event_streams import EventFilter
from domain.event import event_types
from domain.record import time_text
from infrastructure.eventstore.reading import StoredRow, decode_metadata
from infrastructure.streams.run_frames import current_payload


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


def feed_frame(row: StoredRow) -> bytes:
    return b"id: %d\nevent: %b\ndata: %b\n\n" % (row.position, row.type.encode(), event_json(row))


def matches(wanted: EventFilter, row: StoredRow) -> bool:
    if wanted.types and row.type not in wanted.types:
        return False
    if wanted.stream and row.stream != wanted.stream:
        return False
    if wanted.recorded_from is not None and row.recorded_at < wanted.recorded_from:
        return False
    if is_past(wanted, row):
        return False
    if wanted.actor or wanted.correlation_id:
        metadata = decode_metadata(row.metadata)
        return wanted.actor in {"", metadata.actor} and wanted.correlation_id in {"", metadata.correlation_id}
    return True


def is_past(wanted: EventFilter, row: StoredRow) -> bool:
    """No event from this one on can match: times of recording never decrease."""
    return wanted.recorded_to is not None and row.recorded_at > wanted.recorded_to
