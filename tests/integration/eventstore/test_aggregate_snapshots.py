"""Snapshots on a real Postgres: used only when they can be trusted, and never in the way of anything."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import psycopg
import pytest

from application.aggregates.aggregates import Aggregates, Loaded
from application.command_context import CommandContext
from application.ports.snapshots import Snapshot
from domain.run.decide import decide
from domain.run.evolve import evolve
from domain.run.state import Run
from domain.session.decide import decide as decide_session
from domain.session.evolve import evolve as evolve_session
from domain.session.state import SessionWorker
from infrastructure.postgres.event_store import aggregate_snapshots
from infrastructure.postgres.event_store.aggregate_snapshots import (
    PostgresAggregateSnapshots,
    code_fingerprint,
    open_snapshot_pool,
)
from infrastructure.postgres.event_store.store import GroupCommitEventStore
from tests.support.log_events import new_events
from tests.support.mixed_history import mixed_history
from tests.support.recorded import OCCURRED_AT
from tests.support.runs import QUEUE

OTHER_CODE = b"other code" * 3


class LogWithSnapshots:
    """A log and snapshots beside it. Each of `runs()` and `sessions()` has no memory, as a new process."""

    def __init__(self, store: GroupCommitEventStore, pool: Any, dsn: str) -> None:
        self.store, self.pool, self.dsn = store, pool, dsn
        self.read_after: list[int] = []

    async def read_page(self, stream: str, *, after_seq: int = 0, limit: int) -> Any:
        self.read_after.append(after_seq)
        return await self.store.read_page(stream, after_seq=after_seq, limit=limit)

    async def append(self, *arguments: Any) -> Any:
        return await self.store.append(*arguments)

    def snapshots(self, **options: Any) -> PostgresAggregateSnapshots[Any]:
        return PostgresAggregateSnapshots(self.pool, **{"state_type": Run, **options})

    def runs(self, snapshots: Any, every: int = 5) -> Aggregates[Any, Any]:
        return self._aggregates("run:", decide, evolve, snapshots, every)

    def sessions(self, snapshots: Any, every: int = 5) -> Aggregates[Any, Any]:
        return self._aggregates("session:", decide_session, evolve_session, snapshots, every)

    def _aggregates(self, prefix: str, decider: Any, evolver: Any, snapshots: Any, every: int) -> Aggregates[Any, Any]:
        return Aggregates(
            store=self,  # type: ignore[arg-type]
            clock=lambda: OCCURRED_AT,
            stream_of=prefix.__add__,
            decide=decider,
            evolve=evolver,
            snapshots=snapshots,
            snapshot_every=every,
        )

    async def keep(self, run_id: str) -> Loaded[Any]:
        """Load a run as a new process does, and wait until its snapshot is written."""
        async with self.snapshots() as snapshots:
            return await self.runs(snapshots).load(run_id)

    async def seen_from(self, run_id: str) -> tuple[Loaded[Any], int]:
        """What a new process makes of a run, and the seq after which it began to read."""
        self.read_after.clear()
        async with self.snapshots() as snapshots:
            loaded = await self.runs(snapshots, every=10_000).load(run_id)
        return loaded, self.read_after[0]

    async def full(self, run_id: str) -> Loaded[Any]:
        return await self.runs(None).load(run_id)

    def execute(self, statement: str, *arguments: Any) -> list[Any]:
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            cursor = connection.execute(statement.encode(), arguments)
            return cursor.fetchall() if cursor.description else []

    def seq_kept(self, stream: str) -> int:
        rows = self.execute("SELECT seq FROM aggregate_snapshots WHERE stream = %s", stream)
        return int(rows[0][0]) if rows else 0


Scenario = Callable[[LogWithSnapshots], Awaitable[None]]


@pytest.fixture
def run_scenario(database: str) -> Callable[[Scenario], None]:
    async def surrounded(scenario: Scenario) -> None:
        async with asyncio.timeout(180), GroupCommitEventStore(database) as store:
            pool = await open_snapshot_pool(database)
            try:
                await scenario(LogWithSnapshots(store, pool, database))
            finally:
                await pool.close()

    return lambda scenario: asyncio.run(surrounded(scenario))


async def fill(stored: LogWithSnapshots, sessions: int = 1) -> list[str]:
    """A history of sessions and runs; their streams."""
    ends: dict[str, int] = {}
    for stream, events in mixed_history(sessions=sessions):
        ends[stream] = (await stored.store.append(stream, ends.get(stream, 0), events)).last_seq
    return list(ends)


def same(one: Loaded[Any], other: Loaded[Any]) -> bool:
    return (one.state, one.seq, one.position) == (other.state, other.seq, other.position)


def test_snapshot_and_tail_are_the_full_fold_after_every_append(run_scenario: Any) -> None:
    async def scenario(stored: LogWithSnapshots) -> None:
        ends: dict[str, int] = {}
        async with stored.snapshots() as runs, stored.snapshots(state_type=SessionWorker) as sessions:
            for stream, events in mixed_history(sessions=4):
                ends[stream] = (await stored.store.append(stream, ends.get(stream, 0), events)).last_seq
                kind, _, key = stream.partition(":")
                of_kind, kept = (stored.runs, runs) if kind == "run" else (stored.sessions, sessions)
                assert same(await of_kind(kept).load(key), await of_kind(None).load(key))
        for stream, end in ends.items():
            assert end - 5 < stored.seq_kept(stream) <= end

    run_scenario(scenario)


def test_a_new_process_reads_only_what_came_after_the_snapshot(run_scenario: Any) -> None:
    async def scenario(stored: LogWithSnapshots) -> None:
        await fill(stored)
        kept = await stored.keep("run-0")
        loaded, read_after = await stored.seen_from("run-0")
        assert read_after == kept.seq > 30
        assert same(loaded, await stored.full("run-0"))

    run_scenario(scenario)


def test_commands_keep_snapshots_too(run_scenario: Any) -> None:
    async def scenario(stored: LogWithSnapshots) -> None:
        async with stored.snapshots() as snapshots:
            runs = stored.runs(snapshots, every=1)
            await runs.handle("r", QUEUE, CommandContext(actor="a", command_id="1", correlation_id="1"))
        assert stored.seq_kept("run:r") == 1
        loaded, read_after = await stored.seen_from("r")
        assert read_after == 1
        assert same(loaded, await stored.full("r"))

    run_scenario(scenario)


def test_what_other_code_wrote_is_ignored_and_replaced(run_scenario: Any) -> None:
    async def scenario(stored: LogWithSnapshots) -> None:
        await fill(stored)
        async with stored.snapshots(fingerprint=OTHER_CODE) as snapshots:
            await stored.runs(snapshots).load("run-0")
        loaded, read_after = await stored.seen_from("run-0")
        assert read_after == 0
        assert same(loaded, await stored.full("run-0"))
        await stored.keep("run-0")
        assert stored.execute("SELECT fingerprint FROM aggregate_snapshots") == [(code_fingerprint(),)]

    run_scenario(scenario)


@pytest.mark.parametrize(
    "damage",
    [
        "state = substr(state, 1, 40)",
        "state = ''",
        "state = convert_to(replace(convert_from(state, 'UTF8'), '\"session_id\":\"', '\"session_id\":\"x'), 'UTF8')",
        "digest = sha256(state)",
        "seq = seq - 1",
    ],
)
def test_damaged_bytes_are_ignored_with_a_line_in_the_log(
    run_scenario: Any, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    async def scenario(stored: LogWithSnapshots) -> None:
        await fill(stored)
        await stored.keep("run-0")
        stored.execute(f"UPDATE aggregate_snapshots SET {damage}")
        loaded, read_after = await stored.seen_from("run-0")
        assert read_after == 0
        assert same(loaded, await stored.full("run-0"))
        (line,) = [vars(record) for record in caplog.records if vars(record).get("repair") == "snapshot"]
        assert (line["levelname"], line["stream"], line["runId"]) == ("WARNING", "run:run-0", "run-0")
        assert line["message"] == f"snapshot of run:run-0 ignored: {line['reason']}; the state is folded from the log"
        await stored.keep("run-0")
        assert (await stored.seen_from("run-0"))[1] == loaded.seq

    run_scenario(scenario)


def test_whole_bytes_of_another_shape_are_ignored(run_scenario: Any, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(stored: LogWithSnapshots) -> None:
        await fill(stored)
        await stored.keep("run-0")
        async with stored.snapshots(state_type=SessionWorker) as snapshots:
            assert await snapshots.newest("run:run-0") is None
        assert "snapshot of run:run-0 ignored" in caplog.text

    run_scenario(scenario)


def test_a_snapshot_that_is_newer_than_the_log_is_ignored_and_replaced(
    run_scenario: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """As after a log that was restored without its end."""

    async def scenario(stored: LogWithSnapshots) -> None:
        await fill(stored)
        kept = await stored.keep("run-0")
        stored.execute("DELETE FROM events WHERE stream = 'run:run-0' AND seq > %s", kept.seq - 3)
        loaded, read_after = await stored.seen_from("run-0")
        assert (loaded.seq, read_after) == (kept.seq - 3, 0)
        assert "the log does not have event" in caplog.text
        await stored.keep("run-0")
        assert stored.seq_kept("run:run-0") == kept.seq - 3

    run_scenario(scenario)


def test_a_snapshot_of_another_history_of_the_same_length_is_ignored(run_scenario: Any) -> None:
    async def scenario(stored: LogWithSnapshots) -> None:
        await fill(stored)
        kept = await stored.keep("run-0")
        stored.execute(
            "UPDATE events SET chain_hash = sha256('other') WHERE stream = 'run:run-0' AND seq = %s", kept.seq
        )
        assert (await stored.seen_from("run-0"))[1] == 0

    run_scenario(scenario)


def test_a_fold_that_the_log_does_not_have_is_never_written(run_scenario: Any) -> None:
    async def scenario(stored: LogWithSnapshots) -> None:
        await fill(stored)
        full = await stored.full("run-0")
        async with stored.snapshots() as snapshots:
            snapshots.keep("run:run-0", Snapshot(state=full.state, seq=full.seq + 1, position=full.position + 1))
        assert stored.seq_kept("run:run-0") == 0

    run_scenario(scenario)


def test_of_concurrent_writers_the_newest_fold_stays(run_scenario: Any) -> None:
    async def scenario(stored: LogWithSnapshots) -> None:
        await fill(stored)
        log = await stored.store.read_stream("run:run-0")
        state: Any = None
        folds = []
        for event in log:
            state = evolve(state, event)
            folds.append(Snapshot(state=state, seq=event.seq, position=event.position))
        stores = [stored.snapshots() for _ in range(4)]
        for number, fold in enumerate(reversed(folds)):
            stores[number % 4].keep("run:run-0", fold)
            await asyncio.sleep(0)
        await asyncio.gather(*[store.close() for store in stores])
        assert stored.seq_kept("run:run-0") == len(log)
        assert same((await stored.seen_from("run-0"))[0], await stored.full("run-0"))

    run_scenario(scenario)


def test_commands_of_two_processes_leave_a_snapshot_of_the_log(run_scenario: Any) -> None:
    async def scenario(stored: LogWithSnapshots) -> None:
        await fill(stored)
        async with stored.snapshots() as one, stored.snapshots() as other:
            processes = [stored.runs(one, every=2), stored.runs(other, every=2)]
            await asyncio.gather(*[runs.load("run-0") for runs in processes])
            end = (await stored.full("run-0")).seq
            for number in range(10):
                await stored.store.append("run:run-0", end + number, new_events("late"))
                await processes[number % 2].load("run-0")
        loaded, _ = await stored.seen_from("run-0")
        assert same(loaded, await stored.full("run-0"))
        assert loaded.seq - 2 <= stored.seq_kept("run:run-0") <= loaded.seq

    run_scenario(scenario)


def test_the_table_may_be_emptied_at_any_time(run_scenario: Any) -> None:
    async def scenario(stored: LogWithSnapshots) -> None:
        await fill(stored)
        kept = await stored.keep("run-0")
        stored.execute("TRUNCATE aggregate_snapshots")
        assert same((await stored.seen_from("run-0"))[0], kept)

    run_scenario(scenario)


def test_failures_are_logged_and_stay_inside(run_scenario: Any, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(stored: LogWithSnapshots) -> None:
        await fill(stored)
        stored.execute("DROP TABLE aggregate_snapshots")
        assert same(await stored.keep("run-0"), await stored.full("run-0"))
        assert "snapshot of run:run-0 could not be read" in caplog.text
        assert "snapshot of run:run-0 could not be written" in caplog.text

    run_scenario(scenario)


def test_a_snapshot_that_cannot_be_read_in_time_is_done_without(
    run_scenario: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(stored: LogWithSnapshots) -> None:
        await fill(stored)
        kept = await stored.keep("run-0")
        monkeypatch.setattr(aggregate_snapshots, "READ_SECONDS", 0.05)
        async with await psycopg.AsyncConnection.connect(stored.dsn) as other:
            await other.execute("LOCK aggregate_snapshots")
            loaded, read_after = await stored.seen_from("run-0")
        assert (read_after, loaded.seq) == (0, kept.seq)

    run_scenario(scenario)


def test_what_waits_to_be_written_is_bounded(run_scenario: Any, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(stored: LogWithSnapshots) -> None:
        streams = [stream for stream in await fill(stored, sessions=2) if stream.startswith("run:")]
        async with stored.snapshots(max_waiting=2) as snapshots:
            for stream in streams:
                loaded = await stored.full(stream.removeprefix("run:"))
                assert loaded.state is not None
                snapshots.keep(stream, Snapshot(state=loaded.state, seq=loaded.seq, position=loaded.position))
                snapshots._writer.cancel()
            assert snapshots._writer is not None
            await asyncio.gather(snapshots._writer, return_exceptions=True)
            assert len(snapshots._waiting) == 2
        assert len([record for record in caplog.records if "too many wait" in record.message]) == len(streams) - 2

    run_scenario(scenario)


def test_the_fingerprint_is_that_of_the_sources() -> None:
    assert code_fingerprint() == code_fingerprint("domain") != code_fingerprint("projections")
    assert len(code_fingerprint()) == 32
