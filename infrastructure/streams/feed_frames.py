"""An event of the global log as JSON and as an SSE frame, and whether a filter matches it.

    id: 9
    event: message.delta
    data: {"position":9,"stream":"run:r","seq":7,"type":"message.delta","schemaVersion":1,"eventId":"…",
           "occurredAt":"…","recordedAt":"…","metadata":{"actor":"…","correlationId":"…"},"payload":{"text":"hi"}}

(on one line). Metadata and payload are the stored bytes; a payload of an older schema version is upcast, and
`schemaVersion` is then the current one.
"""

from application.ports.event_streams import EventFilter
from infrastructure.postgres.event_store.event_json import event_json
from infrastructure.postgres.event_store.reading import StoredRow, decode_metadata


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
    """Whether neither this event nor any later one can match: `recordedAt` never decreases along the log."""
    return wanted.recorded_to is not None and row.recorded_at > wanted.recorded_to
