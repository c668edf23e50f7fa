"""The projector on a real Postgres: what it keeps equals a rebuild, and what it can't apply stops it alone."""

import asyncio
from typing import Any

import psycopg
import pytest

import infrastructure.postgres.projector.projector as projector_module
from domain.operations.log_consumer import NotStopped
from domain.record import RecordedEvent
from domain.run import events as e
from domain.run.values import Todo
from infrastructure.postgres.projector.failing_pages import FailingPages
from infrastructure.postgres.projector.projected_version import ProjectedVersion
from projections.catalogue import PROJECTIONS
from projections.projection import Column, Projection
from projections.runs import RUNS
from projections.todos import TODOS, TodoRow
from tests.support.async_run import run
from tests.support.mixed_history import append_all, mixed_history, spec
from tests.support.projecting import NAMES, OPERATOR, ProjectionHarness, projection_harness
from tests.support.recorded import EPOCH, new_event

pytestmark = pytest.mark.every_postgres


@pytest.mark.proof
def test_live_rows_equal_a_rebuild(database: str) -> None:
    async def check() -> None:
        async with projection_harness(database) as harness:
            # Small pages and a tiny cache, so that rows are loaded, evicted and loaded again.
            async with harness.projector(page_positions=37, cached_rows=10):
                last = await append_all(harness.store, mixed_history(sessions=12))
                await harness.caught_up(last)
            live = await harness.hashes()
            assert all(count > 10 for count, _ in live.values())
            async with harness.projector():
                await harness.rebuilt()
            assert await harness.hashes() == live

    run(check())


def test_a_rebuild_shows_any_difference(database: str) -> None:
    async def check() -> None:
        async with projection_harness(database) as harness, harness.projector():
            await harness.caught_up(await append_all(harness.store, mixed_history(sessions=2)))
            live = await harness.hashes()
            async with harness.pool.connection() as connection:
                await connection.execute("UPDATE read_models.usage SET output_tokens = 1 WHERE key = 'run-1'")
                await connection.execute("UPDATE read_models.todos SET key = 'run-x' WHERE key = 'run-1'")
            spoilt = await harness.hashes()
            assert {name for name in NAMES if spoilt[name] != live[name]} == {"usage", "todos"}
            await harness.rebuilt(["usage", "todos"])
            assert await harness.hashes() == live

    run(check())


def test_checkpoints_follow_the_log_without_events_of_interest(database: str) -> None:
    async def check() -> None:
        async with projection_harness(database) as harness, harness.projector():
            events = [new_event(e.MessageDelta(text="x"), str(n), EPOCH) for n in range(10)]
            result = await harness.store.append("run:r1", 0, events)
            await harness.caught_up(result.position)
            assert (await harness.status("sync_history"))[1].lag_events == 0

    run(check())


def test_the_status_tells_holder_and_lag(database: str) -> None:
    async def check() -> None:
        async with projection_harness(database) as harness:
            async with harness.projector(holder="me"):
                await harness.caught_up(await append_all(harness.store, mixed_history(sessions=1)))
                status = (await harness.status("runs"))[1]
                assert (status.holder, status.status, status.lag_events, status.lag_seconds) == ("me", "running", 0, 0)
            await append_all(harness.store, mixed_history(sessions=1, prefix="more-"))
            status = (await harness.status("runs"))[1]
            assert status.holder is None
            assert status.lag_events > 100
            assert status.lag_seconds > 0

    run(check())


def test_a_column_that_newer_code_has_added_stops_nothing(database: str) -> None:
    """Processes of the version before go on beside those of the new one, which have migrated the database."""

    async def check() -> None:
        async with projection_harness(database) as harness:
            async with harness.pool.connection() as connection:
                await connection.execute("ALTER TABLE read_models.todos ADD COLUMN newer timestamptz")
                await connection.execute("ALTER TABLE past.todos ADD COLUMN newer timestamptz")
            async with harness.projector():
                await harness.caught_up(await append_all(harness.store, mixed_history(sessions=1)))
            assert (await harness.status("todos"))[1].status == "running"
            assert (await harness.reads.todos("run-0")).value is not None

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


async def todo(harness: ProjectionHarness, name: str, run_id: str = "r1") -> int:
    stream = f"run:{run_id}"
    seq = harness.ends.get(stream, 0)
    event = e.TodoUpdated(todo=Todo(todo_id=name, content=name))
    result = await harness.store.append(stream, seq, [new_event(event, f"{stream}/{seq}", EPOCH)])
    harness.ends[stream] = result.last_seq
    return result.position


async def names(harness: ProjectionHarness) -> list[str]:
    answer = (await harness.reads.todos("r1")).value
    return [item.todo_id for item in answer.items] if answer else []


async def audited(harness: ProjectionHarness, *wanted: str) -> None:
    """Waits until the log says exactly this of the projection of todos."""
    position = 0
    async with asyncio.timeout(90):
        while True:
            stream = await harness.store.read_stream("projection:todos")
            found = [recorded.event.wire_name.removeprefix("projection.") for recorded in stream]
            if len(found) >= len(wanted):
                assert found == list(wanted)
                return
            position = await harness.listener.position.wait_for(position, timeout=1)


def with_todos(projection: Projection[Any]) -> list[Projection[Any]]:
    return [projection if other.name == "todos" else other for other in PROJECTIONS]


def test_a_poison_event_stops_its_projection_alone_until_it_is_skipped(database: str) -> None:
    async def check() -> None:
        breaking = Breaking()
        async with projection_harness(database) as harness, harness.projector(with_todos(breaking.projection)):
            await todo(harness, "before")
            poison = await todo(harness, "poison")
            last = await todo(harness, "after")
            paused = await harness.status_becomes("todos", 1, "paused")
            assert (paused.position, paused.error_position, paused.error_type) == (poison - 1, poison, "todo.update")
            assert "ValueError: this fold" in str(paused.error)
            await harness.caught_up(last, [name for name in NAMES if name != "todos"])
            assert await names(harness) == ["before"]
            with pytest.raises(NotStopped):
                await harness.admin.skip("todos", poison + 1, by=OPERATOR, command_id="wrong")
            await harness.admin.skip("todos", poison, by=OPERATOR, command_id="skip-1", reason="known")
            await harness.caught_up(last, ["todos"])
            assert await names(harness) == ["before", "after"]
            assert (await harness.status("todos"))[1].error is None
            live = await harness.admin.content_hash("todos")
            await harness.rebuilt(["todos"])  # the same fold leaves the same event out
            assert await harness.admin.content_hash("todos") == live
            await audited(harness, "paused", "skipped", "rebuild_requested", "rebuilt")
            skipped = (await harness.store.read_stream("projection:todos"))[1]
            assert (skipped.metadata.actor, skipped.event_id) == ("operator", "skip-1/1")

    run(check())


def test_a_retry_goes_on_with_a_mended_fold(database: str) -> None:
    async def check() -> None:
        breaking = Breaking()
        async with projection_harness(database) as harness:
            async with harness.projector([breaking.projection]):
                with pytest.raises(NotStopped):
                    await harness.admin.retry("todos", by=OPERATOR, command_id="too-soon")
                await todo(harness, "poison")
                last = await todo(harness, "after")
                await harness.status_becomes("todos", 1, "paused")
                await harness.admin.retry("todos", by=OPERATOR, command_id="retry-1")
                await audited(harness, "paused", "retried", "paused")
            async with harness.projector([breaking.projection]):
                # Whoever takes over finds it paused, and does not try by itself.
                await harness.status_becomes("todos", 1, "paused")
                breaking.mended = True
                await harness.admin.retry("todos", by=OPERATOR, command_id="retry-2")
                await harness.caught_up(last, ["todos"])
                assert await names(harness) == ["poison", "after"]
                await audited(harness, "paused", "retried", "paused", "retried")

    run(check())


def test_a_row_that_the_database_refuses_is_found_and_stops_its_projection_alone(database: str) -> None:
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
        async with projection_harness(database) as harness:
            await todo(harness, "before")
            poison = await todo(harness, "poison")
            last = await todo(harness, "after")
            async with harness.projector(with_todos(refused)):
                paused = await harness.status_becomes("todos", 1, "paused")
                assert (paused.position, paused.error_position) == (poison - 1, poison)
                await harness.caught_up(last, [name for name in NAMES if name != "todos"])
                assert await names(harness) == ["before"]

    run(check())


def test_an_event_of_newer_code_is_no_poison(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(projector_module, "NEWER_CODE_SECONDS", 0.1)

    async def set_version(harness: ProjectionHarness, position: int, version: int) -> None:
        async with harness.pool.connection() as connection:
            await connection.execute("UPDATE events SET schema_version = %s WHERE position = %s", (version, position))

    async def check() -> None:
        async with projection_harness(database) as harness:
            await todo(harness, "before")
            newer = await todo(harness, "newer")
            last = await todo(harness, "after")
            await set_version(harness, newer, 99)
            async with harness.projector():
                waiting = await harness.status_becomes("todos", 1, "waiting")
                assert (waiting.position, waiting.error_position) == (newer - 1, newer)
                await audited(harness)
                await set_version(harness, newer, 1)  # as if newer code had taken over
                await harness.caught_up(last, ["todos"])
                assert await names(harness) == ["before", "newer", "after"]

    run(check())


def test_wild_values_are_no_poison(database: str) -> None:
    wild = "\0 ☃ \U0001f600 " + "x" * 5000

    async def check() -> None:
        async with projection_harness(database) as harness, harness.projector():
            events = [
                e.RunQueued(spec=spec(1, "s1", model=wild, provider_options={wild: wild})),
                e.HumanLoopRequested(question_id=wild, prompt=wild, timeout_ms=10**18),
                e.TodoUpdated(todo=Todo(todo_id=wild, content=wild, order=10**15)),
                e.RunAgentFinished(outcome="succeeded", provider_session_id=wild),
                e.RunFinished(outcome="succeeded", exported=False, provider_session_id=wild),
            ]
            new = [new_event(event, str(n), EPOCH) for n, event in enumerate(events)]
            result = await harness.store.append("run:r1", 0, new)
            await harness.caught_up(result.position)
            answer = (await harness.reads.run("r1")).value
            assert answer is not None
            assert (answer.model, answer.provider_session_id) == (wild, wild)
            asked = (await harness.reads.human_loop_requests(run_id="r1")).requests[0]
            assert (asked.question_id, asked.expires_at) == (wild, None)
            assert (await names(harness)) == [wild]

    run(check())


def test_rows_that_an_older_fold_kept_within_streams_go_with_its_last_version(database: str) -> None:
    newer = Breaking().projection
    newer.version = TODOS.version + 1
    keep = "INSERT INTO row_snapshots SELECT %s, %s, 'default', 'run:r', seq, '{}' FROM generate_series(1, 3) seq"

    async def check() -> None:
        async with projection_harness(database) as harness, harness.pool.connection() as connection:
            async with harness.projector():
                await harness.caught_up(await todo(harness, "before"))
            for name, fold in (("todos", TODOS.version), ("todos", newer.version), ("runs", RUNS.version)):
                await connection.execute(keep, (name, fold))
            async with harness.projector(with_todos(newer)):
                await harness.status_becomes("todos", 2, "active")
                async with asyncio.timeout(90):
                    while 1 in await harness.status("todos"):
                        await asyncio.sleep(0.01)
            left = await connection.execute("SELECT DISTINCT projection, fold_version FROM row_snapshots ORDER BY 1")
            assert await left.fetchall() == [("runs", RUNS.version), ("todos", newer.version)]

    run(check())


def test_newer_folds_are_built_beside_and_older_code_leaves_them_alone(database: str) -> None:
    newer = Breaking().projection
    newer.version = TODOS.version + 1

    async def check() -> None:
        async with projection_harness(database) as harness:
            async with harness.projector():
                last = await todo(harness, "before")
                await harness.caught_up(last)
            async with harness.projector(with_todos(newer)):
                built = await harness.status_becomes("todos", 2, "active")
                assert built.fold_version == TODOS.version + 1
            async with harness.projector():  # older code again
                last = await todo(harness, "after")
                await harness.caught_up(last, [name for name in NAMES if name != "todos"])
                assert (await harness.status("todos"))[2].holder is None

    run(check())


REFUSE_POISON = """
CREATE FUNCTION refuse_poison() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF NEW.body::text LIKE '%%poison%%' THEN RAISE EXCEPTION 'too much' USING ERRCODE = '54000'; END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER refuse_poison BEFORE INSERT OR UPDATE ON read_models.todos
    FOR EACH ROW EXECUTE FUNCTION refuse_poison()
"""


def test_a_page_that_always_fails_is_taken_apart_until_the_event_at_fault_stops_its_projection(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error is one of the connection's, so it names no row: the database had taken the page for too large."""
    monkeypatch.setattr(projector_module, "LAST_RETRY_DELAY_SECONDS", 0.05)

    async def check() -> None:
        async with projection_harness(database) as harness, harness.pool.connection() as connection:
            await connection.execute(REFUSE_POISON)
            before = [await todo(harness, f"before-{number}") for number in range(12)]
            poison = await todo(harness, "poison")
            last = await todo(harness, "after", "r2")
            async with harness.projector():
                paused = await harness.status_becomes("todos", 1, "paused")
                assert (paused.position, paused.error_position, paused.error_type) == (
                    before[-1],
                    poison,
                    "todo.update",
                )
                assert str(paused.error).startswith("ProgramLimitExceeded: too much")
                await harness.caught_up(last, [name for name in NAMES if name != "todos"])
                assert len(await names(harness)) == len(before)
                await harness.admin.skip("todos", poison, by=OPERATOR, command_id="skip-1", reason="known")
                await harness.caught_up(last, ["todos"])
                assert (await harness.reads.todos("r2")).value is not None

    run(check())


def test_a_server_that_is_full_is_no_fault_of_the_page() -> None:
    failing, projected = FailingPages(), ProjectedVersion(TODOS, 1, state="active", position=7, skips=frozenset())
    for _ in range(50):
        failing.failed(projected, 2000, psycopg.errors.DiskFull())
        failing.failed(projected, 2000, psycopg.errors.AdminShutdown())
    assert (failing.size(projected, 2000), failing.blocks(projected)) == (2000, None)


def test_one_failure_costs_only_smaller_pages_up_to_where_the_page_ended() -> None:
    failing, projected = FailingPages(), ProjectedVersion(TODOS, 1, state="active", position=7, skips=frozenset())
    failing.failed(projected, 2000, psycopg.OperationalError("the connection is lost"))
    assert failing.size(projected, 2000) == 250
    projected.position = 2006
    failing.passed(projected)
    assert failing.is_failing(projected)
    projected.position = 2007
    failing.passed(projected)
    assert failing.size(projected, 2000) == 2000
