"""Append requests: events as their rows store them, checked against what the log can take. No I/O."""

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache

import msgspec

from domain.event import MAX_PAYLOAD_BYTES, encode
from domain.record import Metadata, NewEvent
from infrastructure.postgres.event_store.errors import AppendRefused

MAX_NAME_BYTES = 512
MAX_REQUEST_EVENTS = 10_000
MAX_REQUEST_BYTES = 64 * 1024 * 1024
EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_MAX_SEQ = 2**62

_encode_metadata = msgspec.json.Encoder().encode


class EncodedEvent(msgspec.Struct, frozen=True, gc=False):
    """An event as its row stores it; texts are UTF-8, `occurred_at` is in microseconds since 2000-01-01T00:00:00Z."""

    event_id: bytes
    type: bytes
    schema_version: int
    occurred_at: int
    metadata: bytes
    payload: bytes
    payload_hash: bytes
    is_json: bool = False
    """Metadata and payload were encoded here, so they are JSON."""


class AppendRequest(msgspec.Struct, frozen=True, gc=False):
    stream: str
    stream_name: bytes
    expected_seq: int
    events: tuple[EncodedEvent, ...]
    size: int
    """Payload and metadata bytes, for the bounds of queues and batches."""


def checked_name(what: str, value: str) -> bytes:
    """A stream, event id or type as UTF-8. Raises AppendRefused when Postgres could not store or index it."""
    encoded = value.encode()
    if not 0 < len(encoded) <= MAX_NAME_BYTES or b"\0" in encoded:
        raise AppendRefused(
            f"{what} {value[:80]!r} must have 1 to {MAX_NAME_BYTES} bytes of UTF-8 and no zero byte, has {len(encoded)}"
        )
    return encoded


@lru_cache(maxsize=1_000)
def _checked_type(wire_name: str) -> bytes:
    return checked_name("event type", wire_name)


def encoded_event(
    event_id: str,
    wire_name: str,
    schema_version: int,
    occurred_at: datetime,
    metadata: bytes,
    payload: bytes,
    *,
    is_json: bool = False,
) -> EncodedEvent:
    """Raises AppendRefused for a payload over 256 KiB, a time without zone, or a name that can't be stored."""
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise AppendRefused(
            f"the payload of {wire_name} {event_id[:80]!r} has {len(payload):,} bytes; the log takes "
            f"{MAX_PAYLOAD_BYTES:,} at most: put larger output into the object store and point to it"
        )
    if len(metadata) > MAX_PAYLOAD_BYTES or b"\0" in metadata:
        raise AppendRefused(f"the metadata of {event_id[:80]!r} has {len(metadata):,} bytes, or a zero byte")
    return EncodedEvent(
        checked_name("event id", event_id),
        _checked_type(wire_name),
        schema_version,
        microseconds(occurred_at),
        metadata,
        payload,
        hashlib.sha256(payload).digest(),
        is_json,
    )


def microseconds(moment: datetime) -> int:
    """Microseconds since 2000-01-01T00:00:00Z. Raises AppendRefused for a time without zone."""
    if moment.tzinfo is None:
        raise AppendRefused(f"the time of occurrence {moment.isoformat()} has no time zone")
    since = moment - EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def encode_new_event(new: NewEvent) -> EncodedEvent:
    """Raises AppendRefused, or TypeError for a payload that msgspec can't encode."""
    event = new.event
    return encoded_event(
        new.event_id,
        event.wire_name,
        event.schema_version,
        new.occurred_at,
        _encode_metadata(new.metadata),
        encode(event),
        is_json=True,
    )


def encode_metadata(metadata: Metadata) -> bytes:
    return _encode_metadata(metadata)


def append_request(stream: str, expected_seq: int, events: Sequence[EncodedEvent]) -> AppendRequest:
    """Raises AppendRefused for no events or too many of them, a repeated event id, or a negative seq."""
    if not -1 <= expected_seq < _MAX_SEQ:
        raise AppendRefused(f"the expected seq of {stream} is {expected_seq}; 0 stands for a new stream")
    if len(events) == 1:
        size = len(events[0].payload) + len(events[0].metadata)
    else:
        size = _checked_size(stream, events)
    return AppendRequest(stream, checked_name("stream", stream), expected_seq, tuple(events), size)


def _checked_size(stream: str, events: Sequence[EncodedEvent]) -> int:
    if not 0 < len(events) <= MAX_REQUEST_EVENTS:
        raise AppendRefused(f"an append to {stream} takes 1 to {MAX_REQUEST_EVENTS:,} events, got {len(events):,}")
    if len({event.event_id for event in events}) < len(events):
        raise AppendRefused(f"an event id occurs twice in one append to {stream}")
    size = sum([len(event.payload) + len(event.metadata) for event in events])
    if size > MAX_REQUEST_BYTES:
        raise AppendRefused(f"an append to {stream} has {size:,} bytes, more than {MAX_REQUEST_BYTES:,}")
    return size
