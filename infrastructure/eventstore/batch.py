"""A batch of append requests: what `append_events` takes, and what its answer means to each caller. No I/O.

AppendRefused (ValueError)  events that the log can never take; nothing was written
"""

import hashlib
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from functools import lru_cache

import msgspec

from application.ports import AppendResult, ExpectedSeqConflict
from domain.event import MAX_PAYLOAD_BYTES, encode
from domain.record import Metadata, NewEvent
from infrastructure.eventstore.announcement import announced
from infrastructure.eventstore.binary_values import (
    bigint,
    bigint_array,
    bytea_array,
    integer,
    integer_array,
    text_array,
    timestamptz_array,
)

MAX_NAME_BYTES = 512
MAX_REQUEST_EVENTS = 10_000
MAX_REQUEST_BYTES = 64 * 1024 * 1024
EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_MAX_SEQ = 2**62

_encode_metadata = msgspec.json.Encoder().encode


class AppendRefused(ValueError):
    """The log can never take these events: no events, a payload that is too large, a repeated event id and so on."""


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


class Call(msgspec.Struct, frozen=True):
    """An SQL function of this name, and its arguments in binary."""

    function: bytes
    arguments: tuple[bytes, ...]


def append_call(tenant: bytes, requests: Sequence[AppendRequest], in_turn: Collection[int] = ()) -> Call:
    """The call that writes requests which share no event id of one stream. `in_turn`: the indexes of those that are
    written only when the one before them is."""
    if len(requests) == 1 and len(requests[0].events) == 1:
        function, arguments = b"append_event", _one_event(tenant, requests[0], requests[0].events[0])
    else:
        function, arguments = b"append_events", _batch(tenant, requests, in_turn)
    return Call(function, (*arguments, announced(tenant, requests)))


def _one_event(tenant: bytes, request: AppendRequest, event: EncodedEvent) -> tuple[bytes, ...]:
    return (
        tenant,
        request.stream_name,
        bigint(request.expected_seq),
        event.type,
        integer(event.schema_version),
        event.event_id,
        bigint(event.occurred_at),
        event.metadata,
        event.payload,
        event.payload_hash,
    )


def _batch(tenant: bytes, requests: Sequence[AppendRequest], in_turn: Collection[int]) -> tuple[bytes, ...]:
    numbers: dict[bytes, int] = {}
    event_streams: list[int] = []
    events: list[EncodedEvent] = []
    for request in requests:
        number = numbers.setdefault(request.stream_name, len(numbers) + 1)
        event_streams += [number] * len(request.events)
        events += request.events
    return (
        tenant,
        text_array(list(numbers)),
        integer_array(
            [-len(request.events) if i in in_turn else len(request.events) for i, request in enumerate(requests)]
        ),
        bigint_array([request.expected_seq for request in requests]),
        integer_array(event_streams),
        text_array([event.type for event in events]),
        integer_array([event.schema_version for event in events]),
        text_array([event.event_id for event in events]),
        timestamptz_array([event.occurred_at for event in events]),
        text_array([event.metadata for event in events]),
        bytea_array([event.payload for event in events]),
        bytea_array([event.payload_hash for event in events]),
    )


class Refusal(msgspec.Struct, frozen=True, rename="camel"):
    """One element of the array in the answer of `append_events`; `request` counts from 1."""

    request: int
    actual: int | None = None
    positions: tuple[int, ...] = ()
    last_seq: int = 0
    same: bool = False


_refusals = msgspec.json.Decoder(list[Refusal])

Outcome = AppendResult | ExpectedSeqConflict


class Answer(msgspec.Struct, frozen=True):
    """What `append_events` answered: the last position before the batch, and the refused requests by number."""

    position_before: int
    refusals: dict[int, Refusal]


def answer(text: bytes) -> Answer:
    digits, bracket, refused = text.partition(b"[")
    refusals = {refusal.request: refusal for refusal in _refusals.decode(bracket + refused)} if bracket else {}
    return Answer(int(digits), refusals)


def outcomes(requests: Sequence[AppendRequest], answered: Answer, *, in_doubt: bool) -> list[Outcome]:
    """The outcome of each request.

    `in_doubt`: an earlier attempt of this batch lost its connection, so it may have been committed. What is found in
    the log exactly as this request would have written it is then this request's own success, not a duplicate.
    """
    results: list[Outcome] = []
    position = answered.position_before
    for number, request in enumerate(requests, 1):
        refusal = answered.refusals.get(number) if answered.refusals else None
        count = len(request.events)
        if refusal is None:
            positions = (position + 1,) if count == 1 else tuple(range(position + 1, position + count + 1))
            results.append(AppendResult(positions=positions, last_seq=request.expected_seq + count))
            position += count
        elif refusal.actual is not None:
            results.append(ExpectedSeqConflict(request.stream, request.expected_seq, refusal.actual))
        else:
            duplicate = not (in_doubt and refusal.same)
            results.append(AppendResult(positions=refusal.positions, last_seq=refusal.last_seq, duplicate=duplicate))
    return results


class Gathering:
    """Picks requests for one batch, within its bounds and without an event id twice in a stream."""

    def __init__(self, max_events: int, max_bytes: int) -> None:
        self._events_left, self._bytes_left = max_events, max_bytes
        self._first_of_stream: dict[bytes, AppendRequest] = {}
        self._ids_of_stream: dict[bytes, set[bytes]] = {}

    def takes(self, request: AppendRequest) -> bool:
        """Whether the request goes into this batch; the first one always does."""
        count = len(request.events)
        if (count > self._events_left or request.size > self._bytes_left) and self._first_of_stream:
            return False
        first = self._first_of_stream.setdefault(request.stream_name, request)
        if first is not request and not self._has_new_ids(first, request):
            return False
        self._events_left -= count
        self._bytes_left -= request.size
        return True

    def _has_new_ids(self, first: AppendRequest, request: AppendRequest) -> bool:
        known = self._ids_of_stream.setdefault(request.stream_name, {event.event_id for event in first.events})
        ids = {event.event_id for event in request.events}
        if not known.isdisjoint(ids):
            return False
        known |= ids
        return True
