"""The NOTIFY of a small commit has its events in it, so that listeners need not read them from the log.

The text of a notification is the last position of the commit. For a small commit, a space, the time of recording in
microseconds since 2000-01-01T00:00:00Z, another space and JSON follow: [tenant, [event, …]], where an event is
[stream, seq, type, schemaVersion, eventId, occurredAt, metadata, payload] with the stored bytes of the last two.
Postgres takes 8,000 bytes a notification; for a larger commit it is the position alone.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

import msgspec

from infrastructure.postgres.event_store.append_request import EPOCH, AppendRequest
from infrastructure.postgres.event_store.reading import StoredRow

MOST_BYTES = 7_000
NO_ANNOUNCEMENT = b""


class _Event(msgspec.Struct, array_like=True, frozen=True, gc=False):
    stream: str
    seq: int
    type: str
    schema_version: int
    event_id: str
    occurred_at: int
    metadata: msgspec.Raw
    payload: msgspec.Raw


class _Commit(msgspec.Struct, array_like=True, frozen=True, gc=False):
    tenant: str
    events: list[_Event]


class Announcement(msgspec.Struct, frozen=True, gc=False):
    """The events of one commit, in order; their positions are consecutive."""

    tenant: str
    rows: list[StoredRow]


_decoder = msgspec.json.Decoder(_Commit)
_quoted = msgspec.json.Encoder().encode


def encode_announcement(tenant: bytes, requests: Sequence[AppendRequest]) -> bytes:
    """The JSON that the notification has if all of these requests are written; empty when they are too large, or when
    one holds bytes that are not known to be JSON."""
    if sum([request.size for request in requests]) > MOST_BYTES:
        return NO_ANNOUNCEMENT
    events = []
    for request in requests:
        stream = _quoted(request.stream)
        for seq, event in enumerate(request.events, request.expected_seq + 1):
            if not event.is_json:
                return NO_ANNOUNCEMENT
            events.append(
                b'[%b,%d,"%b",%d,%b,%d,%b,%b]'
                % (
                    stream,
                    seq,
                    event.type,
                    event.schema_version,
                    _quoted(event.event_id.decode()),
                    event.occurred_at,
                    event.metadata,
                    event.payload,
                )
            )
    text = b'["%b",[%b]]' % (tenant, b",".join(events))
    return text if len(text) <= MOST_BYTES else NO_ANNOUNCEMENT


def announcement(last: int, text: bytes) -> Announcement | None:
    """Decode what follows the position `last` in a notification. None when that fails; the log has the events."""
    recorded, _, commit = text.partition(b" ")
    try:
        recorded_at = _datetime(int(recorded))
        decoded = _decoder.decode(commit)
    except (ValueError, OverflowError):
        return None
    first = last - len(decoded.events) + 1
    return Announcement(
        decoded.tenant,
        [
            StoredRow(
                position,
                event.stream,
                event.seq,
                event.type,
                event.event_id,
                recorded_at,
                _datetime(event.occurred_at),
                event.schema_version,
                bytes(event.metadata),
                bytes(event.payload),
            )
            for position, event in enumerate(decoded.events, first)
        ],
    )


def _datetime(microseconds: int) -> datetime:
    return EPOCH + timedelta(microseconds=microseconds)
