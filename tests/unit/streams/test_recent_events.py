"""The newest events in memory: which reads they answer, and which events leave first."""

from infrastructure.postgres.event_store.reading import StoredRow
from infrastructure.streams.recent_events import RecentEvent, RecentEvents
from tests.support.recorded import OCCURRED_AT


def event(position: int, stream: str, seq: int, payload: bytes = b"{}") -> RecentEvent:
    row = StoredRow(position, stream, seq, "t", "e", OCCURRED_AT, OCCURRED_AT, 1, b"{}", payload)
    return RecentEvent(row)


def seqs(found: list[RecentEvent] | None) -> list[int] | None:
    return None if found is None else [event.row.seq for event in found]


def positions(found: list[RecentEvent] | None) -> list[int] | None:
    return None if found is None else [event.row.position for event in found]


def recent(**bounds: int) -> RecentEvents:
    """Positions 11 to 16: stream a has the seqs 5, 6, 7, 8 and stream b the seqs 1, 2."""
    events = RecentEvents(**bounds)
    events.start(10)
    events.add([event(11, "a", 5), event(12, "b", 1), event(13, "a", 6)])
    events.add([event(14, "a", 7), event(15, "b", 2), event(16, "a", 8)])
    return events


def test_a_stream_is_served_from_memory_when_nothing_of_it_is_missing() -> None:
    assert seqs(recent().of_stream("a", 4, 4)) == [5, 6, 7, 8]
    assert seqs(recent().of_stream("a", 6, 8)) == [7, 8]
    assert seqs(recent().of_stream("a", 8, 8)) == []
    assert seqs(recent().of_stream("a", 9, 8)) == []


def test_a_stream_is_not_served_when_older_or_newer_events_may_be_missing() -> None:
    assert recent().of_stream("a", 3, 8) is None
    assert recent().of_stream("a", 8, 9) is None
    assert recent().of_stream("unknown", 0, 0) is None


def test_the_log_is_served_from_where_memory_begins() -> None:
    assert positions(recent().of_log(10, 16)) == [11, 12, 13, 14, 15, 16]
    assert positions(recent().of_log(14, 16)) == [15, 16]
    assert positions(recent().of_log(16, 16)) == []
    assert recent().of_log(9, 16) is None
    assert recent().of_log(14, 17) is None
    assert RecentEvents().of_log(0, 0) is None


def test_the_oldest_events_leave_when_there_are_too_many() -> None:
    events = recent(max_events=3)
    assert seqs(events.of_stream("a", 6, 8)) == [7, 8]
    assert events.of_stream("a", 5, 8) is None
    assert positions(events.of_log(13, 16)) == [14, 15, 16]
    assert events.of_log(12, 16) is None


def test_the_oldest_events_leave_when_they_are_too_large() -> None:
    events = recent(max_bytes=100)
    events.add([event(17, "c", 1, b"x" * 99)])
    assert positions(events.of_log(16, 17)) == [17]
    assert events.of_stream("a", 8, 8) is None
    events.add([event(18, "c", 2, b"x" * 101)])
    assert positions(events.of_log(18, 18)) == []
    assert events.of_log(17, 18) is None
