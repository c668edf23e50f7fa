"""The observer of the log: one at a time, from its checkpoint, and what another has not passed on it passes on."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import psycopg
import pytest

from application.observation.instruments import Instrument
from application.observation.span import Span, span_id_of
from application.pace import Pace
from application.ports.telemetry import NoSpans
from application.task_cancellation import cancel_and_wait
from domain.event import Event
from domain.record import Metadata, NewEvent
from domain.run import events as e
from domain.run.values import Message, RunSpec
from infrastructure.postgres import log_observation as module
from infrastructure.postgres.event_store.store import GroupCommitEventStore
from infrastructure.postgres.listener import PostgresListener
from infrastructure.postgres.log_observation import LogObservation
from tests.support.async_run import run

SPEC = RunSpec(session_id="s", user_login_name="ada", provider="scripted", messages=(Message(role="user", content=""),))
BEGINNING: tuple[Event, ...] = (
    e.RunQueued(spec=SPEC),
    e.RunClaimed(owner="w", attempt=1, lease_generation=1),
    e.RunStarted(attempt=1, generation=1, boot_id="b", lease_generation=1),
)
END: tuple[Event, ...] = (
    e.MessageDelta(text="x", lease_generation=1),
    e.RunAgentFinished(outcome="succeeded", lease_generation=1),
    e.RunFinished(outcome="succeeded", exported=True, lease_generation=1),
)


NOT_IDLE_FOR = f"""
SELECT FROM pg_stat_activity JOIN pg_locks USING (pid)
WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND (classid::bigint << 32) + objid::bigint = {module.LOCK}
  AND granted AND clock_timestamp() - state_change <= %s * interval '200 ms'
"""


class Seen(NoSpans):
    """Measurements and exported spans. While `stuck`, an export does not return."""

    def __init__(self) -> None:
        self.counted: Counter[str] = Counter()
        self.spans: list[Span] = []
        self.stuck = False
        self._changed = asyncio.Condition()

    def add(self, instrument: Instrument, *labels: str, value: float = 1.0, trace_id: str = "") -> None:
        self.counted[instrument.name] += 1

    async def export(self, spans: Sequence[Span]) -> None:
        async with self._changed:
            self.spans += spans
            self._changed.notify_all()
        if self.stuck:
            await asyncio.Event().wait()

    async def until(self, name: str) -> None:
        async with asyncio.timeout(60), self._changed:
            await self._changed.wait_for(lambda: any(span.name == name for span in self.spans))

    async def until_seen(self, event: str) -> None:
        """Until the span of the event `{stream}/{seq}` is there."""
        async with asyncio.timeout(60), self._changed:
            await self._changed.wait_for(lambda: any(span.span_id == span_id_of(event) for span in self.spans))


class Slow(Seen):
    """An export returns once the observer's connection has been idle for a fifth of a second for each span."""

    def __init__(self, dsn: str) -> None:
        super().__init__()
        self._dsn = dsn

    async def export(self, spans: Sequence[Span]) -> None:
        async with await psycopg.AsyncConnection.connect(self._dsn, autocommit=True) as connection:
            while await (await connection.execute(NOT_IDLE_FOR, (len(spans),))).fetchone() is not None:
                await asyncio.sleep(0.05)
        await super().export(spans)


class Log:
    def __init__(self, dsn: str, store: GroupCommitEventStore, listener: PostgresListener) -> None:
        self._dsn, self.store, self._listener = dsn, store, listener

    async def append(self, run_id: str, events: Sequence[Event], after: int = 0) -> None:
        new = [
            NewEvent(
                event_id=f"{run_id}/{after + number}",
                event=event,
                occurred_at=datetime.now(UTC),
                metadata=Metadata(
                    actor="t", correlation_id=run_id, causation_id=f"lease/{run_id}/1", trace_id="a" * 32
                ),
            )
            for number, event in enumerate(events)
        ]
        await self.store.append(f"run:{run_id}", after, new)

    @asynccontextmanager
    async def observed(self, seen: Seen) -> AsyncIterator[None]:
        observation = LogObservation(
            dsn=self._dsn,
            store=self.store,
            end_of_log=self._listener.position,
            measurements=seen,
            spans=seen,
            traces=True,
            pace=Pace(),
        )
        task = asyncio.create_task(observation.run())
        try:
            yield
        finally:
            await cancel_and_wait([task])

    async def has_begun(self) -> None:
        """An observer has its checkpoint."""
        async with await psycopg.AsyncConnection.connect(self._dsn, autocommit=True) as connection:
            while await (await connection.execute("SELECT FROM observed_log")).fetchone() is None:
                await asyncio.sleep(0.01)

    async def is_observed(self) -> None:
        """The checkpoint is at the end of the log."""
        at_end = "SELECT FROM observed_log WHERE position >= (SELECT max(position) FROM events)"
        async with await psycopg.AsyncConnection.connect(self._dsn, autocommit=True) as connection:
            while await (await connection.execute(at_end)).fetchone() is None:
                await asyncio.sleep(0.01)


@asynccontextmanager
async def log_of(dsn: str) -> AsyncIterator[Log]:
    async with GroupCommitEventStore(dsn) as store, PostgresListener(dsn) as listener:
        yield Log(dsn, store, listener)


def test_it_begins_at_the_end_of_the_log_and_goes_on_where_another_stopped(database: str) -> None:
    async def scenario() -> tuple[Seen, Seen]:
        first, second = Seen(), Seen()
        async with log_of(database) as log:
            await log.append("before", BEGINNING + END)
            async with log.observed(first):
                await log.has_begun()
                await log.append("r", BEGINNING)
                await first.until("run.started")
                await log.is_observed()
            await log.append("r", END, after=len(BEGINNING))
            async with log.observed(second):
                await second.until("run.finished")
        return first, second

    first, second = run(scenario())

    assert {span.attributes.get("fleetlog.event.stream", "run:r") for span in first.spans} == {"run:r"}
    assert [span.name for span in second.spans] == [
        "run.agent_finished",
        "invoke_agent scripted",
        "run.finished",
        "run.execute",
    ]
    assert (first.counted["runs_finished"], second.counted["runs_finished"]) == (0, 1)


def test_what_a_killed_one_had_not_passed_on_is_passed_on_by_the_next_with_the_same_ids(database: str) -> None:
    async def scenario() -> tuple[Seen, Seen]:
        first, second = Seen(), Seen()
        first.stuck = True
        async with log_of(database) as log:
            async with log.observed(first):
                await log.has_begun()
                await log.append("r", BEGINNING)
                await first.until("run.started")
            async with log.observed(second):
                await log.append("r", END, after=len(BEGINNING))
                await second.until("run.finished")
        return first, second

    first, second = run(scenario())

    assert {span.span_id for span in first.spans} <= {span.span_id for span in second.spans}


def test_a_slow_collector_does_not_cost_the_observer_its_place_so_that_nothing_is_counted_twice(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SESSION", module.SESSION | {"idle_session_timeout": "1s"})
    monkeypatch.setattr(module, "POLL_S", 0.2)
    monkeypatch.setattr(module, "PART_SPANS", 3)

    async def scenario() -> Seen:
        seen = Slow(database)
        async with log_of(database) as log, log.observed(seen):
            await log.has_begun()
            await log.append("r", BEGINNING + END)
            await seen.until("run.execute")
            await log.append("other", BEGINNING[:1])
            await seen.until_seen("run:other/1")
        return seen

    seen = run(scenario())

    assert len({span.span_id for span in seen.spans}) == len(seen.spans)
    assert seen.counted["runs_finished"] == 1


def test_of_two_only_one_observes(database: str) -> None:
    async def scenario() -> list[Seen]:
        both = [Seen(), Seen()]
        async with log_of(database) as log, log.observed(both[0]), log.observed(both[1]):
            await log.has_begun()
            await log.append("r", BEGINNING + END)
            done, rest = await asyncio.wait(
                [asyncio.create_task(seen.until("run.finished")) for seen in both], return_when=asyncio.FIRST_COMPLETED
            )
            await cancel_and_wait(rest)
            assert all(task.exception() is None for task in done)
        return both

    assert sorted(seen.counted["runs_finished"] for seen in run(scenario())) == [0, 1]
