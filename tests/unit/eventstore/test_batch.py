"""How requests are gathered into a batch, and what the database's answer means to each of them."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from application.ports.event_store import AppendResult
from infrastructure.postgres.event_store.append_request import (
    EPOCH,
    MAX_REQUEST_EVENTS,
    AppendRequest,
    EncodedEvent,
    append_request,
    encode_new_event,
    microseconds,
)
from infrastructure.postgres.event_store.batch import (
    BatchBuilder,
    BatchResult,
    RefusedRequest,
    append_call,
    append_outcomes,
    parse_batch_result,
)
from infrastructure.postgres.event_store.errors import AppendRefused
from tests.support.log_events import new_event


def request(stream: str, *event_ids: str, expected_seq: int = 0) -> AppendRequest:
    return append_request(stream, expected_seq, [encode_new_event(new_event(event_id=id_)) for id_ in event_ids])


def encoded(event_id: bytes) -> EncodedEvent:
    return EncodedEvent(event_id, b"test.noted", 1, 0, b"{}", b"{}", b"")


def test_positions_go_to_the_accepted_requests_in_order() -> None:
    requests = [request("a", "1", "2"), request("b", "1"), request("c", "1", expected_seq=4)]
    refused = BatchResult(10, {2: RefusedRequest(request=2, actual=7)})
    written, conflict, third = append_outcomes(requests, refused, in_doubt=False)
    assert written == AppendResult(positions=(11, 12), last_seq=2)
    assert str(conflict) == "b is at seq 7, expected 0"
    assert third == AppendResult(positions=(13,), last_seq=5)


@pytest.mark.parametrize(
    ("in_doubt", "same", "duplicate"), [(False, True, True), (True, False, True), (True, True, False)]
)
def test_only_a_repeated_request_that_finds_exactly_itself_is_its_own_success(
    *, in_doubt: bool, same: bool, duplicate: bool
) -> None:
    found = BatchResult(10, {1: RefusedRequest(request=1, positions=(3, 5), last_seq=2, same=same)})
    (result,) = append_outcomes([request("a", "1", "2")], found, in_doubt=in_doubt)
    assert result == AppendResult(positions=(3, 5), last_seq=2, duplicate=duplicate)


def test_a_batch_result_is_a_position_and_perhaps_the_refused_requests() -> None:
    assert parse_batch_result(b"41") == BatchResult(41, {})
    assert parse_batch_result(b'41[{"request": 2, "actual": 7}]') == BatchResult(
        41, {2: RefusedRequest(request=2, actual=7)}
    )


def test_a_batch_takes_one_event_id_of_a_stream_once() -> None:
    builder = BatchBuilder(max_events=100, max_bytes=10_000)
    assert builder.try_add(request("a", "1"))
    assert builder.try_add(request("a", "2", "3"))
    assert builder.try_add(request("b", "1"))
    assert not builder.try_add(request("a", "4", "3"))


def test_a_batch_ends_at_its_bounds_but_takes_any_first_request() -> None:
    builder = BatchBuilder(max_events=2, max_bytes=10_000)
    assert builder.try_add(request("a", "1", "2", "3"))
    assert not builder.try_add(request("b", "1"))
    builder = BatchBuilder(max_events=100, max_bytes=1)
    assert builder.try_add(request("a", "1"))
    assert not builder.try_add(request("b", "1"))


def test_a_single_event_is_called_for_without_arrays() -> None:
    assert append_call(b"default", [request("a", "1")]).function == b"append_event"
    assert append_call(b"default", [request("a", "1", "2")]).function == b"append_events"
    assert append_call(b"default", [request("a", "1"), request("b", "1")]).function == b"append_events"


def test_times_are_exact_to_the_microsecond_in_any_zone() -> None:
    moment = datetime(2031, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)
    assert EPOCH + timedelta(microseconds=microseconds(moment)) == moment
    assert microseconds(moment.astimezone(timezone(timedelta(hours=-7)))) == microseconds(moment)
    assert microseconds(datetime(1999, 12, 31, 23, 59, 59, tzinfo=UTC)) == -1_000_000


def test_a_time_without_zone_is_refused() -> None:
    with pytest.raises(AppendRefused, match="has no time zone"):
        microseconds(datetime(2026, 1, 1))  # noqa: DTZ001


def test_an_append_of_too_many_events_is_refused() -> None:
    events = [encoded(str(number).encode()) for number in range(MAX_REQUEST_EVENTS + 1)]
    with pytest.raises(AppendRefused, match="takes 1 to 10,000 events, got 10,001"):
        append_request("a", 0, events)
