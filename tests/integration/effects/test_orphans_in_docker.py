"""Orphans on a real Docker Engine: who goes, who is kept, who is none of ours; and a removal asks the right daemon."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from msgspec.structs import replace

from application.aggregates.aggregates import Aggregates
from application.operations.orphans import CleanOrphans, OrphanCounts
from application.ports.worker_runtime import ContainerSpec, RuntimeUnavailable
from application.sessions.session_workers import LoadedWorker, SessionWorkers
from domain.event import Event
from domain.identifiers import session_stream
from domain.record import Occurrence
from domain.session import events as e
from domain.session.decide import decide
from domain.session.evolve import evolve
from infrastructure.executor_client.directory import HttpExecutorDirectory
from tests.integration.effects.test_orphans import CONTEXT, log_of
from tests.support.async_run import run
from tests.support.docker_runtime_harness import DockerRuntimeHarness
from tests.support.sessions import DELETED, activation
from tests.support.specification import fold, occurrence

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def harness(worker_image: str) -> Iterator[DockerRuntimeHarness]:
    harness = DockerRuntimeHarness()
    yield harness
    harness.clean_up()


def made(harness: DockerRuntimeHarness, session_id: str, generation: int, *, started: bool = False) -> str:
    spec = ContainerSpec(session_id=session_id, generation=generation, token="t")
    container = run(harness.runtime.create(spec))
    if started:
        run(harness.runtime.start(spec, container.container_id))
    return container.container_id


def cleaned(harness: DockerRuntimeHarness, dsn: str, history: tuple[Event, ...], later: timedelta) -> OrphanCounts:
    async def scenario() -> OrphanCounts:
        async with log_of(dsn, history) as store:
            clock = lambda: datetime.now(UTC) + later  # noqa: E731
            sessions = Aggregates(store=store, clock=clock, stream_of=session_stream, decide=decide, evolve=evolve)
            orphans = CleanOrphans(sessions=sessions, store=store, runtime=harness.runtime, clock=clock)
            return await orphans.clean(10, CONTEXT)

    return run(scenario(), timeout=250)


def left(harness: DockerRuntimeHarness) -> set[str]:
    return {each.container_id for each in run(harness.runtime.own_containers())}


def test_orphans_that_hold_nothing_go_and_all_others_stay(harness: DockerRuntimeHarness, database: str) -> None:
    """Session s1 is at generation 2; the removal of its first had been decided. Nobody knows the session `unknown`."""
    passed = made(harness, "s1", 1, started=True)
    current = made(harness, "s1", 2)
    worked, empty = made(harness, "unknown", 1, started=True), made(harness, "unknown", 2)
    history = (
        *(replace(each, container_id=passed) if isinstance(each, e.ContainerCreated) else each for each in DELETED),
        activation("create", generation=2),
        e.ContainerCreated(generation=2, container_id=current, runtime="docker", daemon_id="d"),
    )
    other = DockerRuntimeHarness()
    try:
        foreign = made(other, "s1", 1)

        counts = cleaned(harness, database, history, later=timedelta(hours=1))

        assert left(other) == {foreign}
    finally:
        other.clean_up()
    assert (counts.found, counts.removed, counts.kept, counts.failed) == (3, 2, 1, 0)
    assert left(harness) == {current, worked}
    assert {passed, empty}.isdisjoint(left(harness))


def test_whatever_was_made_just_now_stays(harness: DockerRuntimeHarness, database: str) -> None:
    young = made(harness, "unknown", 1)

    assert cleaned(harness, database, (), later=timedelta()).found == 0
    assert left(harness) == {young}


def test_a_container_is_removed_by_the_daemon_that_made_it_alone(harness: DockerRuntimeHarness) -> None:
    there = made(harness, "s1", 1)
    of_another = e.ContainerCreated(generation=1, container_id=there, runtime="docker", daemon_id="another daemon")
    events: list[Occurrence] = [occurrence(event) for event in (activation(), of_another)]
    state = fold(evolve, events)
    assert state is not None

    async def remove() -> None:
        async with HttpExecutorDirectory(b"s") as directory:
            workers = SessionWorkers(
                sessions=None,  # type: ignore[arg-type]
                runtime=harness.runtime,
                directory=directory,
                secret=b"s",
            )
            await workers.remove(LoadedWorker(session_id="s1", state=state))

    with pytest.raises(RuntimeUnavailable, match="another daemon"):
        run(remove())
    assert left(harness) == {there}
