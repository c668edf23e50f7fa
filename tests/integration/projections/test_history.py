"""Two states of a stream compared, and the first state that a condition holds for, against whole folds."""

import random
from typing import Any

import msgspec
import pytest

from domain.errors import InvalidInput, NotFound
from domain.record import RecordedEvent
from infrastructure.postgres.projector import projected_version
from infrastructure.postgres.read_models.history import PostgresHistory
from projections.changes import changes, concerns
from projections.condition import Condition
from projections.documents import RunFold, SessionFold
from projections.runs import StreamEnd
from tests.support.async_run import run
from tests.support.json_patch import patched
from tests.support.mixed_history import append_all, mixed_history
from tests.support.projecting import ProjectionHarness, projection_harness


@pytest.fixture(autouse=True)
def rows_are_kept_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that states are built on them."""
    monkeypatch.setattr(projected_version, "SNAPSHOT_EVERY", 7)


def documents(kind: str, key: str, events: list[RecordedEvent]) -> list[dict[str, Any]]:
    """After each seq, from 0 on, by a fold from the first event."""
    fold: Any = RunFold(key) if kind == "run" else SessionFold(key)
    found: list[dict[str, Any]] = [{}]
    for event in events:
        fold.step(event)
        found.append(fold.document(StreamEnd(seq=event.seq, position=event.position, at=event.occurred_at)) or {})
    return found


async def written(harness: ProjectionHarness) -> None:
    async with harness.projector(page_positions=40):
        await harness.caught_up(await append_all(harness.store, mixed_history(sessions=2, runs_each=3, seed=9)))
    async with harness.pool.connection() as connection:
        row = await (await connection.execute("SELECT count(*) FROM row_snapshots")).fetchone()
        assert row is not None
        assert row[0] > 30


STREAMS = (("run", "run-0"), ("run", "run-4"), ("session", "session-1"))


@pytest.mark.proof
def test_differences_are_those_of_the_two_states_each_with_the_event_that_made_it(database: str) -> None:
    async def scenario() -> None:
        async with projection_harness(database) as harness:
            await written(harness)
            history, random_ = PostgresHistory(harness.pool), random.Random(3)
            for kind, key in STREAMS:
                events = await harness.store.read_stream(f"{kind}:{key}")
                states = documents(kind, key, events)
                for _ in range(25):
                    low, high = sorted(random_.choices(range(len(states)), k=2))
                    found = await history.difference(kind, key, low, high)  # type: ignore[arg-type]
                    assert (found.before, found.after) == (states[low], states[high])
                    assert patched(found.before, msgspec.to_builtins(found.patch)) == found.after
                    assert [(c.path, c.kind) for c in found.changes] == [
                        (c.path, c.kind) for c in changes(states[low], states[high])
                    ]
                    for change in found.changes:
                        assert change.by is not None
                        assert change.by.seq == last_touch(states, low, high, change.path), change

    run(scenario())


def last_touch(states: list[dict[str, Any]], low: int, high: int, path: str) -> int:
    """The last seq whose event changed something at a path."""
    for seq in range(high, low, -1):
        if any(concerns(change.path, path) for change in changes(states[seq - 1], states[seq])):
            return seq
    raise AssertionError(f"nothing changed {path}")


@pytest.mark.parametrize(
    ("kind", "key", "where", "monotone"),
    [
        ("run", "run-0", 'state == "running"', False),
        ("run", "run-0", "tools.started >= 3", True),
        ("run", "run-0", 'any(todos, status == "done")', True),
        ("run", "run-0", 'any(questions, status == "resolved")', True),
        ("run", "run-0", "finishedAt != null", True),
        ("run", "run-0", "seq > 17", True),
        ("run", "run-0", 'state == "waiting_human"', False),
        ("run", "run-0", '"better" in text', False),
        ("run", "run-0", "messages >= 1", True),
        ("run", "run-0", 'state == "nonesuch"', False),
        ("run", "run-0", 'state == "nonesuch"', True),
        ("session", "session-1", 'lastSyncStatus == "success"', False),
        ("session", "session-1", 'state == "stopped"', True),
    ],
)
def test_the_first_state_is_the_one_that_a_scan_by_hand_finds(
    database: str, kind: Any, key: str, where: str, monotone: bool
) -> None:
    async def scenario() -> None:
        async with projection_harness(database) as harness:
            await written(harness)
            condition = Condition(where)
            events = await harness.store.read_stream(f"{kind}:{key}")
            held = [condition.holds(state) for state in documents(kind, key, events)]
            expected = held.index(True) if True in held else None
            found = await PostgresHistory(harness.pool).bisect(kind, key, condition, monotone=monotone)
            assert (found.first.seq if found.first else None, found.found) == (expected, expected is not None)
            assert found.last_seq == len(events)
            assert found.evaluated <= (12 if monotone else len(events))

    run(scenario())


def test_bounds_that_the_stream_does_not_have_are_refused(database: str) -> None:
    async def scenario() -> None:
        async with projection_harness(database) as harness:
            last = (await append_all(harness.store, mixed_history(sessions=1))) and await harness.store.last_seq(
                "run:run-0"
            )
            history = PostgresHistory(harness.pool)
            for low, high, field in ((0, last + 1, "to"), (5, 4, "from"), (last + 1, None, "from"), (0, 0, "to")):
                with pytest.raises(InvalidInput) as refused:
                    await history.difference("run", "run-0", low, high)
                assert refused.value.field == field
            with pytest.raises(NotFound):
                await history.difference("run", "nonesuch", 0, None)
            with pytest.raises(NotFound):
                await history.bisect("session", "nonesuch", Condition("true"), monotone=True)

    run(scenario())
