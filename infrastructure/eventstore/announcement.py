"""Small commits carry their events in their NOTIFY, so that who waits for the end of the log need not read them there.

The text of a notification is the last position of the commit; behind a blank, for a small commit, come the time of
recording in microseconds since 2000-01-01T00:00:00Z, another blank and JSON: [tenant, [event, …]], where an event is
[stream, seq, type, schemaVersion, eventId, occurredAt, metadata, payload] with the stored bytes of the last two.
Postgres takes 8,000 bytes a notification; a larger commit is only announced, and read from the log.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import msgspec

from infrastructure.eventstore.reading import StoredRow

if TYPE_CHECKING:
    from infrastructure.eventstore.batch import AppendRequest

MOST_BYTES = 7_000
NOTHING = b""
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)


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


def announced(tenant: bytes, requests: "Sequence[AppendRequest]") -> bytes:
    """The JSON for a notification of these requests, should all of them be written; nothing when they are too large, or
    when one holds bytes that are not known to be JSON."""
    if sum([request.size for request in requests]) > MOST_BYTES:
        return NOTHING
    events = []
    for request in requests:
        stream = _quoted(request.stream)
        for seq, event in enumerate(request.events, request.expected_seq + 1):
            if not event.is_json:
                return NOTHING
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
    return text if len(text) <= MOST_BYTES else NOTHING


def announcement(last: int, text: bytes) -> Announcement | None:
    """What a notification says behind its position. None when it can't be understood: the log has the events."""
    recorded, _, commit = text.partition(b" ")
    try:
        recorded_at = _moment(int(recorded))
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
                _moment(event.occurred_at),
                event.schema_version,
                bytes(event.metadata),
                bytes(event.payload),
            )
            for position, event in enumerate(decoded.events, first)
        ],
    )


def _moment(microseconds: int) -> datetime:
    return _EPOCH + timedelta(microseconds=microseconds)
