"""What Aggregates reads, and when it keeps a snapshot."""

from typing import Any

import msgspec

from application.aggregates.aggregates import Aggregates
from application.aggregates.stream_pages import EVENTS_PER_PAGE
from application.command_context import CommandContext
from application.ports.event_store import AppendResult, ExpectedSeqConflict, StreamPage
from application.ports.snapshots import Snapshot
from domain.errors import Conflict
from domain.record import NewEvent, Occurrence, RecordedEvent
from tests.support.async_run import run
from tests.support.log_events import Counted
from tests.support.recorded import OCCURRED_AT


class Tally(msgspec.Struct, frozen=True):
    total: int


class MemoryLog:
    """The EventStore port for one stream at a time; `reads` are the seqs after which it was read."""

    def __init__(self) -> None:
        self.streams: dict[str, list[RecordedEvent]] = {}
        self.reads: list[int] = []

    async def append(self, stream: str, expected_seq: int, events: list[NewEvent]) -> AppendResult:
        log = self.streams.setdefault(stream, [])
        if len(log) != expected_seq:
            raise ExpectedSeqConflict(stream, expected_seq, len(log))
        for new in events:
            seq = len(log) + 1
            log.append(
                RecordedEvent(
                    position=seq + 100,
                    stream=stream,
                    seq=seq,
                    event_id=new.event_id,
                    event=new.event,
                    occurred_at=new.occurred_at,
                    recorded_at=new.occurred_at,
                    metadata=new.metadata,
                )
            )
        return AppendResult(
            positions=tuple(each.position for each in log[-len(events) :]),
            last_seq=len(log),
        )

    async def read_page(
        self, stream: str, *, after_seq: int = 0, up_to_seq: int | None = None, limit: int
    ) -> StreamPage:
        self.reads.append(after_seq)
        page = self.streams.get(stream, [])[after_seq:][:limit]
        return StreamPage(events=page, more=len(page) == limit)

    async def find_event(self, stream: str, event_id: str) -> RecordedEvent | None:
        return next((each for each in self.streams.get(stream, []) if each.event_id == event_id), None)


class MemorySnapshots:
    def __init__(self) -> None:
        self.kept: list[tuple[str, Snapshot[Tally]]] = []

    async def newest(self, stream: str) -> Snapshot[Tally] | None:
        return max(
            (snapshot for kept, snapshot in self.kept if kept == stream), key=lambda each: each.seq, default=None
        )

    def keep(self, stream: str, snapshot: Snapshot[Tally]) -> None:
        self.kept.append((stream, snapshot))


def decide(state: Tally | None, amount: int) -> list[Counted]:
    if amount < 0:
        raise Conflict("negative", "negative")
    return [Counted(number=amount)] if amount else []


def evolve(state: Tally | None, occurrence: Occurrence) -> Tally:
    assert isinstance(occurrence.event, Counted)
    return Tally((state.total if state else 0) + occurrence.event.number)


def tallies(log: Any, snapshots: MemorySnapshots | None, **options: Any) -> Aggregates[Tally, int]:
    return Aggregates(
        store=log,
        clock=lambda: OCCURRED_AT,
        stream_of="tally:{}".format,
        decide=decide,
        evolve=evolve,
        snapshots=snapshots,
        **options,
    )


def context(command_id: str) -> CommandContext:
    return CommandContext(actor="tester", command_id=command_id, correlation_id=command_id)


async def count(aggregates: Aggregates[Tally, int], times: int, *, name: str) -> None:
    for number in range(times):
        await aggregates.handle("a", 1, context(f"{name}/{number}"))


def test_a_snapshot_is_kept_every_so_many_events() -> None:
    snapshots = MemorySnapshots()
    run(count(tallies(MemoryLog(), snapshots, snapshot_every=10), 35, name="x"))
    assert snapshots.kept == [
        ("tally:a", Snapshot(state=Tally(seq), seq=seq, position=seq + 100)) for seq in (10, 20, 30)
    ]


def test_a_cold_fold_begins_at_the_newest_snapshot_and_ends_as_a_full_one() -> None:
    log, snapshots = MemoryLog(), MemorySnapshots()
    run(count(tallies(log, snapshots, snapshot_every=10), 35, name="x"))
    log.reads.clear()
    loaded = run(tallies(log, snapshots, snapshot_every=10).load("a"))
    assert log.reads == [30]
    assert (loaded.state, loaded.seq, loaded.position, loaded.snapshot_seq) == (Tally(35), 35, 135, 30)
    full = run(tallies(log, None).load("a"))
    assert (full.state, full.seq, full.position) == (loaded.state, loaded.seq, loaded.position)
    assert len(snapshots.kept) == 3


def test_a_warm_fold_decides_without_reading() -> None:
    log = MemoryLog()
    aggregates = tallies(log, MemorySnapshots(), snapshot_every=10)
    run(count(aggregates, 1, name="first"))
    log.reads.clear()
    run(count(aggregates, 50, name="more"))
    assert log.reads == []


def test_a_fold_from_the_log_is_kept_once_however_often_it_is_loaded() -> None:
    log, snapshots = MemoryLog(), MemorySnapshots()
    run(count(tallies(log, None), 25, name="x"))
    aggregates = tallies(log, snapshots, snapshot_every=10)
    for _ in range(3):
        assert run(aggregates.load("a")).snapshot_seq == 25
    assert [snapshot.seq for _, snapshot in snapshots.kept] == [25]


def test_a_long_stream_is_read_page_by_page() -> None:
    log = MemoryLog()
    run(count(tallies(log, None), 2 * EVENTS_PER_PAGE, name="x"))
    log.reads.clear()
    loaded = run(tallies(log, None).load("a"))
    assert (loaded.state, loaded.seq) == (Tally(2 * EVENTS_PER_PAGE), 2 * EVENTS_PER_PAGE)
    assert log.reads == [0, EVENTS_PER_PAGE, 2 * EVENTS_PER_PAGE]


def test_a_process_that_fell_behind_reads_only_what_is_new() -> None:
    log, snapshots = MemoryLog(), MemorySnapshots()
    one, other = (tallies(log, snapshots, snapshot_every=10) for _ in range(2))
    run(count(one, 12, name="one"))
    run(count(other, 30, name="other"))
    log.reads.clear()
    run(count(one, 1, name="again"))
    assert log.reads == [12]
    assert run(tallies(log, None).load("a")).state == Tally(43)
