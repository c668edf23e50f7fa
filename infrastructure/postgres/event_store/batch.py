"""A batch of append requests: the arguments of `append_events`, and what its result means to each caller. No I/O."""

from collections.abc import Collection, Sequence

import msgspec

from application.ports.event_store import AppendResult
from infrastructure.postgres.event_store.announcement import encode_announcement
from infrastructure.postgres.event_store.append_request import AppendRequest, EncodedEvent
from infrastructure.postgres.event_store.binary_values import (
    bigint,
    bigint_array,
    bytea_array,
    integer,
    integer_array,
    text_array,
    timestamptz_array,
)
from infrastructure.postgres.event_store.errors import StreamConflict


class AppendCall(msgspec.Struct, frozen=True):
    """A call of an SQL function; `arguments` are in Postgres's binary format."""

    function: bytes
    arguments: tuple[bytes, ...]


def append_call(tenant: bytes, requests: Sequence[AppendRequest], chained: Collection[int] = ()) -> AppendCall:
    """The call that writes these requests, no two of which have the same event id for the same stream. `chained`: the
    indexes (from 0) of requests that are written only if the one before them is."""
    if len(requests) == 1 and len(requests[0].events) == 1:
        function, arguments = b"append_event", _one_event(tenant, requests[0], requests[0].events[0])
    else:
        function, arguments = b"append_events", _batch(tenant, requests, chained)
    return AppendCall(function, (*arguments, encode_announcement(tenant, requests)))


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


def _batch(tenant: bytes, requests: Sequence[AppendRequest], chained: Collection[int]) -> tuple[bytes, ...]:
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
            [-len(request.events) if i in chained else len(request.events) for i, request in enumerate(requests)]
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


class RefusedRequest(msgspec.Struct, frozen=True, rename="camel"):
    """A request that was not written; `request` is its number in the batch, from 1. On a conflict `actual` is the
    stream's last seq. Else the stream has all of its event ids already, at `positions`; `same`: as this request would
    have stored them."""

    request: int
    actual: int | None = None
    positions: tuple[int, ...] = ()
    last_seq: int = 0
    same: bool = False


_refused_decoder = msgspec.json.Decoder(list[RefusedRequest])

AppendOutcome = AppendResult | StreamConflict


class BatchResult(msgspec.Struct, frozen=True):
    """What `append_events` answered: the last position before the batch, and the refused requests by number."""

    position_before: int
    refused: dict[int, RefusedRequest]


def parse_batch_result(text: bytes) -> BatchResult:
    digits, bracket, rest = text.partition(b"[")
    refused = _refused_decoder.decode(bracket + rest) if bracket else []
    return BatchResult(int(digits), {each.request: each for each in refused})


def append_outcomes(requests: Sequence[AppendRequest], result: BatchResult, *, in_doubt: bool) -> list[AppendOutcome]:
    """The outcome of each request.

    `in_doubt`: an earlier attempt of this batch lost its connection, so it may have been committed. What is found in
    the log exactly as this request would have written it is then this request's own success, not a duplicate.
    """
    results: list[AppendOutcome] = []
    position = result.position_before
    for number, request in enumerate(requests, 1):
        refusal = result.refused.get(number) if result.refused else None
        count = len(request.events)
        if refusal is None:
            positions = (position + 1,) if count == 1 else tuple(range(position + 1, position + count + 1))
            results.append(AppendResult(positions=positions, last_seq=request.expected_seq + count))
            position += count
        elif refusal.actual is not None:
            results.append(StreamConflict(request.stream, request.expected_seq, refusal.actual))
        else:
            duplicate = not (in_doubt and refusal.same)
            results.append(AppendResult(positions=refusal.positions, last_seq=refusal.last_seq, duplicate=duplicate))
    return results


class BatchBuilder:
    """Picks requests for one batch, within its bounds and without an event id twice in a stream."""

    def __init__(self, max_events: int, max_bytes: int) -> None:
        self._events_left, self._bytes_left = max_events, max_bytes
        self._first_of_stream: dict[bytes, AppendRequest] = {}
        self._ids_of_stream: dict[bytes, set[bytes]] = {}

    def try_add(self, request: AppendRequest) -> bool:
        """Add the request if it fits, and say whether it did; the first one always does."""
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
