"""Orphans, on a real log and with a runtime that lists what the test says: what is removed, what is kept."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import cast

import pytest

from application.aggregates.aggregates import Aggregates
from application.command_context import CommandContext
from application.operations.orphans import CleanOrphans, OrphanCounts
from application.ports.worker_runtime import ContainerSpec, OwnContainer, WorkerRuntime
from domain.event import Event
from domain.identifiers import session_stream
from domain.record import Metadata, NewEvent
from domain.session import events as e
from domain.session.decide import decide
from domain.session.evolve import evolve
from infrastructure.postgres.event_store.store import GroupCommitEventStore
from tests.support.async_run import run
from tests.support.sessions import DELETED, LOST, RUNNING, STARTED, STOPPED, activation, created, started

NOW = datetime(2026, 1, 2, 12, 0, tzinfo=UTC)
CONTEXT = CommandContext(actor="schedule", command_id="x", correlation_id="x")
Status = str


class ListedRuntime:
    """A runtime of which only the list of containers and their removal matter."""

    def __init__(self, *containers: OwnContainer) -> None:
        self.containers = list(containers)

    async def own_containers(self) -> list[OwnContainer]:
        return list(self.containers)

    async def remove(self, spec: ContainerSpec, container_id: str) -> None:
        self.containers = [each for each in self.containers if each.container_id != container_id]


def container(
    container_id: str = "c1", *, generation: int = 1, status: Status = "exited", age: timedelta = timedelta(hours=1)
) -> OwnContainer:
    return OwnContainer(
        container_id=container_id,
        session_id="s1",
        generation=generation,
        status=status,  # type: ignore[arg-type]
        created_at=NOW - age,
    )


@asynccontextmanager
async def log_of(dsn: str, history: Sequence[Event]) -> AsyncIterator[GroupCommitEventStore]:
    metadata = Metadata(actor="test", correlation_id="c")
    async with GroupCommitEventStore(dsn) as store:
        if history:
            events = [
                NewEvent(event_id=f"e{n}", event=event, occurred_at=NOW, metadata=metadata)
                for n, event in enumerate(history)
            ]
            await store.append(session_stream("s1"), 0, events)
        yield store


def cleaned(dsn: str, history: Sequence[Event], *containers: OwnContainer) -> tuple[OrphanCounts, list[str], list[str]]:
    """The counts, the ids of the containers that are left, and what was added to the session's log."""

    async def scenario() -> tuple[OrphanCounts, list[str], list[str]]:
        runtime = ListedRuntime(*containers)
        async with log_of(dsn, history) as store:
            sessions = Aggregates(
                store=store, clock=lambda: NOW, stream_of=session_stream, decide=decide, evolve=evolve
            )
            orphans = CleanOrphans(
                sessions=sessions, store=store, runtime=cast("WorkerRuntime", runtime), clock=lambda: NOW
            )
            counts = await orphans.clean(10, CONTEXT)
            added = await store.read_stream(session_stream("s1"), after_seq=len(history))
            left = [each.container_id for each in runtime.containers]
            return counts, left, [each.event.wire_name for each in added]

    return run(scenario())


NEXT_GENERATION = (activation("create", generation=2), e.ContainerCreated(
    generation=2, container_id="c2", runtime="process", daemon_id="d1"
))  # fmt: skip


@pytest.mark.parametrize(
    ("history", "orphan"),
    [
        ((), container(status="created")),
        ((*DELETED,), container()),
        ((*DELETED, *NEXT_GENERATION), container()),
        ((*STARTED, LOST, *NEXT_GENERATION), container()),
        ((*RUNNING, LOST, *NEXT_GENERATION), container("c0", status="created")),
    ],
    ids=["unknown, never started", "removal decided", "removed, next is there", "never activated", "made too late"],
)
def test_an_orphan_that_holds_nothing_is_removed_and_that_is_on_record(
    database: str, history: tuple[Event, ...], orphan: OwnContainer
) -> None:
    counts, left, added = cleaned(database, history, orphan)

    assert (counts.removed, counts.kept, left) == (1, 0, [])
    assert added == (["session.orphan_removed"] if history else [])


@pytest.mark.parametrize(
    ("history", "orphan"),
    [
        ((), container(status="running")),
        ((*RUNNING, LOST), container()),
        ((*RUNNING, LOST, *NEXT_GENERATION), container(status="running")),
        (STOPPED, container("another")),
        (STOPPED, container("later", generation=2)),
    ],
    ids=["unknown", "lost after work", "lost, next is there", "another of this generation", "of a generation to come"],
)
def test_an_orphan_that_may_hold_work_is_kept(database: str, history: tuple[Event, ...], orphan: OwnContainer) -> None:
    counts, left, added = cleaned(database, history, orphan)

    assert (counts.removed, counts.kept, left, added) == (0, 1, [orphan.container_id], [])


@pytest.mark.parametrize("history", [(activation(),), (activation(), created(), started()), RUNNING, STOPPED])
def test_a_current_container_is_no_orphan(database: str, history: tuple[Event, ...]) -> None:
    counts, left, _ = cleaned(database, history, container(status="created"))

    assert (counts.found, left) == (0, ["c1"])


def test_a_container_that_was_made_a_moment_ago_is_left_alone(database: str) -> None:
    counts, left, _ = cleaned(database, (), container(status="created", age=timedelta(seconds=30)))

    assert (counts.found, left) == (0, ["c1"])
