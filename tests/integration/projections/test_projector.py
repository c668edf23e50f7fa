"""The projector on a real Postgres: what it keeps equals a rebuild, and what it can't apply stops it alone."""

import asyncio
from typing import Any

import pytest

import infrastructure.projector.projector as projector_module
from domain.projection.control import NotPaused
from domain.record import RecordedEvent
from domain.run import events as e
from domain.run.values import Todo
from projections.catalogue import PROJECTIONS
from projections.projection import Column, Projection
from projections.runs import RUNS
from projections.todos import TODOS, TodoRow
from tests.support.async_run import run
from tests.support.mixed_history import append_all, mixed_history, new_event, spec
from tests.support.projecting import NAMES, OPERATOR, Surroundings, surroundings
from tests.support.recorded import EPOCH


def test_live_rows_equal_a_rebuild(migrated: str) -> None:
    async def check() -> None:
        async with surroundings(migrated) as around:
            # Small pages and a tiny cache, so that rows are loaded, evicted and loaded again.
            async with around.projector(page_positions=37, cached_rows=10):
                last = await append_all(around.store, mixed_history(sessions=12))
                await around.caught_up(last)
            live = await around.hashes()
            assert all(count > 10 for count, _ in live.values())
            async with around.projector():
                await around.rebuilt()
            assert await around.hashes() == live

    run(check())


def test_a_rebuild_shows_any_difference(migrated: str) -> None:
    async def check() -> None:
        async with surroundings(migrated) as around, around.projector():
            await around.caught_up(await append_all(around.store, mixed_history(sessions=2)))
            live = await around.hashes()
            async with around.pool.connection() as connection:
                await connection.execute("UPDATE read_models.usage SET output_tokens = 1 WHERE key = 'run-1'")
                await connection.execute("UPDATE read_models.todos SET key = 'run-x' WHERE key = 'run-1'")
            spoilt = await around.hashes()
            assert {name for name in NAMES if spoilt[name] != live[name]} == {"usage", "todos"}
            await around.rebuilt(["usage", "todos"])
            assert await around.hashes() == live

    run(check())


def test_checkpoints_follow_the_log_without_events_of_interest(migrated: str) -> None:
    async def check() -> None:
        async with surroundings(migrated) as around, around.projector():
            events = [new_event(e.MessageDelta(text="x"), str(n), EPOCH) for n in range(10)]
            result = await around.store.append("run:r1", 0, events)
            await around.caught_up(result.position)
            assert (await around.status("sync_history"))[1].lag_events == 0

    run(check())


def test_the_status_tells_holder_and_lag(migrated: str) -> None:
    async def check() -> None:
        async with surroundings(migrated) as around:
            async with around.projector(holder="me"):
                await around.caught_up(await append_all(around.store, mixed_history(sessions=1)))
                status = (await around.status("runs"))[1]
                assert (status.holder, status.status, status.lag_events, status.lag_seconds) == ("me", "running", 0, 0)
            await append_all(around.store, mixed_history(sessions=1, prefix="more-"))
            status = (await around.status("runs"))[1]
            assert status.holder is None
            assert status.lag_events > 100
            assert status.lag_seconds > 0

    run(check())


class Breaking:
    """A projection of todos that fails on an item called `poison` until it is mended."""

    def __init__(self) -> None:
        self.mended = False
        self.projection: Projection[Any] = Projection(
            name="todos",
            version=TODOS.version,
            row_type=TodoRow,
            events=[e.TodoUpdated, e.TodosReplaced],
            key=TODOS.key,
            fold=self.fold,
            columns=TODOS.columns,
        )

    def fold(self, row: TodoRow | None, recorded: RecordedEvent) -> TodoRow | None:
        if not self.mended and isinstance(recorded.event, e.TodoUpdated) and recorded.event.todo.todo_id == "poison":
            raise ValueError("this fold\0 does not like poison")
        return TODOS.fold(row, recorded)


async def todo(around: Surroundings, name: str, run_id: str = "r1") -> int:
    stream = f"run:{run_id}"
    seq = around.ends.get(stream, 0)
    event = e.TodoUpdated(todo=Todo(todo_id=name, content=name))
    result = await around.store.append(stream, seq, [new_event(event, f"{stream}/{seq}", EPOCH)])
    around.ends[stream] = result.last_seq
    return result.position


async def names(around: Surroundings) -> list[str]:
    answer = (await around.reads.todos("r1")).value
    return [item.todo_id for item in answer.items] if answer else []


async def audited(around: Surroundings, *wanted: str) -> None:
    """Waits until the log says exactly this of the projection of todos."""
    position = 0
    async with asyncio.timeout(10):
        while True:
            stream = await around.store.read_stream("projection:todos")
            found = [recorded.event.wire_name.removeprefix("projection.") for recorded in stream]
            if len(found) >= len(wanted):
                assert found == list(wanted)
                return
            position = await around.listener.position.wait_for(position, timeout=1)


def with_todos(projection: Projection[Any]) -> list[Projection[Any]]:
    return [projection if other.name == "todos" else other for other in PROJECTIONS]


def test_a_poison_event_stops_its_projection_alone_until_it_is_skipped(migrated: str) -> None:
    async def check() -> None:
        breaking = Breaking()
        async with surroundings(migrated) as around, around.projector(with_todos(breaking.projection)):
            await todo(around, "before")
            poison = await todo(around, "poison")
            last = await todo(around, "after")
            paused = await around.status_becomes("todos", 1, "paused")
            assert (paused.position, paused.error_position, paused.error_type) == (poison - 1, poison, "todo.update")
            assert "ValueError: this fold" in str(paused.error)
            await around.caught_up(last, [name for name in NAMES if name != "todos"])
            assert await names(around) == ["before"]
            with pytest.raises(NotPaused):
                await around.admin.skip("todos", poison + 1, by=OPERATOR, command_id="wrong")
            await around.admin.skip("todos", poison, by=OPERATOR, command_id="skip-1", reason="known")
            await around.caught_up(last, ["todos"])
            assert await names(around) == ["before", "after"]
            assert (await around.status("todos"))[1].error is None
            live = await around.admin.content_hash("todos")
            await around.rebuilt(["todos"])  # the same fold leaves the same event out
            assert await around.admin.content_hash("todos") == live
            await audited(around, "paused", "skipped", "rebuild_requested", "rebuilt")
            skipped = (await around.store.read_stream("projection:todos"))[1]
            assert (skipped.metadata.actor, skipped.event_id) == ("operator", "skip-1/1")

    run(check())


def test_a_retry_goes_on_with_a_mended_fold(migrated: str) -> None:
    async def check() -> None:
        breaking = Breaking()
        async with surroundings(migrated) as around:
            async with around.projector([breaking.projection]):
                with pytest.raises(NotPaused):
                    await around.admin.retry("todos", by=OPERATOR, command_id="too-soon")
                await todo(around, "poison")
                last = await todo(around, "after")
                await around.status_becomes("todos", 1, "paused")
                await around.admin.retry("todos", by=OPERATOR, command_id="retry-1")
                await audited(around, "paused", "retried", "paused")
            async with around.projector([breaking.projection]):
                # Whoever takes over finds it paused, and does not try by itself.
                await around.status_becomes("todos", 1, "paused")
                breaking.mended = True
                await around.admin.retry("todos", by=OPERATOR, command_id="retry-2")
                await around.caught_up(last, ["todos"])
                assert await names(around) == ["poison", "after"]
                await audited(around, "paused", "retried", "paused", "retried")

    run(check())


def test_a_row_that_the_database_refuses_is_found_and_stops_its_projection_alone(migrated: str) -> None:
    def columns(row: TodoRow) -> tuple[Column, ...]:
        return ("a column too many",) if any(item.todo_id == "poison" for item in row.items) else ()

    refused: Projection[Any] = Projection(
        name="todos",
        version=1,
        row_type=TodoRow,
        events=[e.TodoUpdated, e.TodosReplaced],
        key=TODOS.key,
        fold=TODOS.fold,
        columns=columns,
    )

    async def check() -> None:
        async with surroundings(migrated) as around:
            await todo(around, "before")
            poison = await todo(around, "poison")
            last = await todo(around, "after")
            async with around.projector(with_todos(refused)):
                paused = await around.status_becomes("todos", 1, "paused")
                assert (paused.position, paused.error_position) == (poison - 1, poison)
                await around.caught_up(last, [name for name in NAMES if name != "todos"])
                assert await names(around) == ["before"]

    run(check())


def test_an_event_of_newer_code_is_no_poison(migrated: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(projector_module, "NEWER_CODE_SECONDS", 0.1)

    async def set_version(around: Surroundings, position: int, version: int) -> None:
        async with around.pool.connection() as connection:
            await connection.execute("UPDATE events SET schema_version = %s WHERE position = %s", (version, position))

    async def check() -> None:
        async with surroundings(migrated) as around:
            await todo(around, "before")
            newer = await todo(around, "newer")
            last = await todo(around, "after")
            await set_version(around, newer, 99)
            async with around.projector():
                waiting = await around.status_becomes("todos", 1, "waiting")
                assert (waiting.position, waiting.error_position) == (newer - 1, newer)
                await audited(around)
                await set_version(around, newer, 1)  # as if newer code had taken over
                await around.caught_up(last, ["todos"])
                assert await names(around) == ["before", "newer", "after"]

    run(check())


def test_wild_values_are_no_poison(migrated: str) -> None:
    wild = "\0 ☃ \U0001f600 " + "x" * 5000

    async def check() -> None:
        async with surroundings(migrated) as around, around.projector():
            events = [
                e.RunQueued(spec=spec(1, "s1", model=wild, provider_options={wild: wild})),
                e.HumanLoopRequested(question_id=wild, prompt=wild, timeout_ms=10**18),
                e.TodoUpdated(todo=Todo(todo_id=wild, content=wild, order=10**15)),
                e.RunAgentFinished(outcome="succeeded", provider_session_id=wild),
                e.RunFinished(outcome="succeeded", exported=False, provider_session_id=wild),
            ]
            new = [new_event(event, str(n), EPOCH) for n, event in enumerate(events)]
            result = await around.store.append("run:r1", 0, new)
            await around.caught_up(result.position)
            answer = (await around.reads.run("r1")).value
            assert answer is not None
            assert (answer.model, answer.provider_session_id) == (wild, wild)
            asked = (await around.reads.human_loop_requests(run_id="r1")).requests[0]
            assert (asked.question_id, asked.expires_at) == (wild, None)
            assert (await names(around)) == [wild]

    run(check())


def test_rows_that_an_older_fold_kept_within_streams_go_with_its_last_version(migrated: str) -> None:
    newer = Breaking().projection
    newer.version = TODOS.version + 1
    keep = "INSERT INTO row_snapshots SELECT %s, %s, 'default', 'run:r', seq, '{}' FROM generate_series(1, 3) seq"

    async def check() -> None:
        async with surroundings(migrated) as around, around.pool.connection() as connection:
            async with around.projector():
                await around.caught_up(await todo(around, "before"))
            for name, fold in (("todos", TODOS.version), ("todos", newer.version), ("runs", RUNS.version)):
                await connection.execute(keep, (name, fold))
            async with around.projector(with_todos(newer)):
                await around.status_becomes("todos", 2, "active")
                async with asyncio.timeout(30):
                    while 1 in await around.status("todos"):
                        await asyncio.sleep(0.01)
            left = await connection.execute("SELECT DISTINCT projection, fold_version FROM row_snapshots ORDER BY 1")
            assert await left.fetchall() == [("runs", RUNS.version), ("todos", newer.version)]

    run(check())


def test_newer_folds_are_built_beside_and_older_code_leaves_them_alone(migrated: str) -> None:
    newer = Breaking().projection
    newer.version = TODOS.version + 1

    async def check() -> None:
        async with surroundings(migrated) as around:
            async with around.projector():
                last = await todo(around, "before")
                await around.caught_up(last)
            async with around.projector(with_todos(newer)):
                built = await around.status_becomes("todos", 2, "active")
                assert built.fold_version == TODOS.version + 1
            async with around.projector():  # older code again
                last = await todo(around, "after")
                await around.caught_up(last, [name for name in NAMES if name != "todos"])
                assert (await around.status("todos"))[2].holder is None

    run(check())
