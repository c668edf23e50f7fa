"""Reads on a real Postgres: filters, pages, the past, and waiting for a position."""

import asyncio
import time
from datetime import UTC, datetime, timedelta

import pytest

import sql
from domain.errors import InvalidInput
from domain.identifiers import DEFAULT_TENANT, run_stream
from domain.run import events as e
from domain.session import events as s
from projections.ports import AtPosition, AtSeq, AtTime, RunFilter, SessionWorkerFilter, UsageFilter
from tests.support.async_run import run
from tests.support.mixed_history import append_all, mixed_history, spec
from tests.support.projecting import ProjectionHarness, projection_harness
from tests.support.recorded import EPOCH, as_json, new_event
from tests.support.sessions import RUNNING, sync_failed

pytestmark = pytest.mark.every_postgres


def test_the_past_is_what_was_read_then(database: str) -> None:
    """Every answer that was given live is given again for its position, its seq and its time."""

    async def check() -> None:
        async with projection_harness(database) as harness, harness.projector():
            answers = []
            ends: dict[str, int] = {}
            for batch in mixed_history(sessions=1, runs_each=1, seed=4):
                position = await append_all(harness.store, iter([batch]), ends)
                await harness.caught_up(position)
                answers.append(
                    (
                        position,
                        await harness.reads.session_worker("session-0"),
                        await harness.reads.run("run-0"),
                        await harness.reads.todos("run-0"),
                        await harness.reads.human_loop_requests(run_id="run-0"),
                    )
                )
            for position, worker, run_, todos, asked in answers:
                at = AtPosition(position)
                assert (await harness.reads.session_worker("session-0", at=at)).value == worker.value
                assert (await harness.reads.run("run-0", at=at)).value == run_.value
                assert (await harness.reads.todos("run-0", at=at)).value == todos.value
                past = await harness.reads.human_loop_requests(run_id="run-0", at=at)
                assert (past.requests if past else ()) == asked.requests
            last = answers[-1][2].value
            assert last is not None
            assert (await harness.reads.run("run-0", at=AtSeq(last.seq))).value == last
            stream = await harness.store.read_stream(run_stream("run-0"))
            moment = AtTime(stream[-1].recorded_at)
            assert (await harness.reads.run("run-0", at=moment)).value == last
            before = AtTime(stream[0].recorded_at - timedelta(microseconds=1))
            assert (await harness.reads.run("run-0", at=before)).value is None

    run(check())


def test_moments_beyond_the_end_are_refused(database: str) -> None:
    async def check() -> None:
        async with projection_harness(database) as harness, harness.projector():
            last = await append_all(harness.store, mixed_history(sessions=1))
            for seq in (0, 10_000):
                with pytest.raises(InvalidInput, match=rf"{seq} is not between 1 and \d+, the last seq of run:run-0"):
                    await harness.reads.run("run-0", at=AtSeq(seq))
            with pytest.raises(InvalidInput, match="beyond the end of the log"):
                await harness.reads.session_worker("session-0", at=AtPosition(last + 100))
            assert (await harness.reads.run("run-0", at=AtPosition(1))).value is None
            assert (await harness.reads.run("unknown", at=AtSeq(1))).value is None

    run(check())


def test_unknown_ids_are_none(database: str) -> None:
    async def check() -> None:
        async with projection_harness(database) as harness, harness.projector():
            await harness.caught_up(await append_all(harness.store, mixed_history(sessions=1)))
            for answer in (
                await harness.reads.run("x\0"),
                await harness.reads.session_worker("x"),
                await harness.reads.todos("x"),
                await harness.reads.todo_history("x"),
                await harness.reads.usage_of_run("x"),
            ):
                assert answer.value is None
            assert (await harness.reads.human_loop_requests(run_id="x")).total == 0
            assert (await harness.reads.sync_history("x")).items == ()

    run(check())


async def all_run_ids(harness: ProjectionHarness, matching: RunFilter, limit: int) -> list[str]:
    cursor, found = None, []
    while True:
        page = await harness.reads.runs(matching, limit=limit, cursor=cursor)
        assert len(page.items) <= limit
        found += [item.run_id for item in page.items]
        if page.next_cursor is None:
            return found
        cursor = page.next_cursor


def test_lists_are_filtered_and_paged_newest_first(database: str) -> None:
    async def check() -> None:
        async with projection_harness(database) as harness, harness.projector():
            last = await append_all(harness.store, mixed_history(sessions=8))
            await harness.caught_up(last)
            everything = (await harness.reads.runs(RunFilter(), limit=500)).items
            assert len(everything) == 24
            created = [item.created_at for item in everything]
            assert created == sorted(created, reverse=True)
            assert await all_run_ids(harness, RunFilter(), 7) == [item.run_id for item in everything]
            for matching in (
                RunFilter(state="failed"),
                RunFilter(session_id="session-3"),
                RunFilter(provider="codex-cli", app_id="app-1"),
                RunFilter(user_login_name="user-2"),
                RunFilter(state="queued"),
            ):
                wanted = {name: value for name, value in as_json(matching).items() if value is not None}
                expected = [
                    item.run_id
                    for item in everything
                    if all(getattr(item, name) == value for name, value in wanted.items())
                ]
                assert await all_run_ids(harness, matching, 2) == expected
            workers = await harness.reads.session_workers(SessionWorkerFilter(state="stopped"), limit=500)
            assert {item.session_id for item in workers.items} == {f"session-{n}" for n in (1, 3, 5, 7)}
            assert workers.as_of_position == last
            syncs = await harness.reads.sync_history("session-3", limit=3)
            assert [item.reason for item in syncs.items] == ["pre.stop", "run.finished", "run.finished"]
            more = await harness.reads.sync_history("session-3", limit=3, cursor=syncs.next_cursor)
            assert (len(more.items), more.next_cursor) == (1, None)

    run(check())


@pytest.mark.parametrize(
    "cursor", ["", "x", "YmVmb3JlOjA", "YmVmb3JlOi0x", "☃", "YmVmb3JlOjk5OTk5OTk5OTk5OTk5OTk5OTk5OTk5"]
)
def test_a_cursor_that_no_page_gave_is_refused(database: str, cursor: str) -> None:
    async def check() -> None:
        async with projection_harness(database) as harness:
            with pytest.raises(InvalidInput, match="cursor"):
                await harness.reads.runs(RunFilter(), cursor=cursor)

    run(check())


def test_limits_are_checked(database: str) -> None:
    async def check() -> None:
        async with projection_harness(database) as harness:
            for limit in (0, -1, 501):
                with pytest.raises(InvalidInput, match="limit"):
                    await harness.reads.runs(RunFilter(), limit=limit)

    run(check())


def test_pending_questions_and_filters(database: str) -> None:
    async def check() -> None:
        async with projection_harness(database) as harness, harness.projector():
            last = 0
            for run_id in ("r1", "r2"):
                events = [
                    e.RunQueued(spec=spec(1, f"session-of-{run_id}")),
                    e.HumanLoopRequested(question_id="q1"),
                    e.HumanLoopRequested(question_id="q2"),
                    e.HumanLoopResolved(question_id="q1", answer=run_id),
                ]
                new = [new_event(event, str(n), EPOCH) for n, event in enumerate(events)]
                last = (await harness.store.append(run_stream(run_id), 0, new)).position
            await harness.caught_up(last)
            pending = await harness.reads.human_loop_requests(statuses=["open", "answering"])
            assert [(item.run_id, item.question_id, item.session_id) for item in pending.requests] == [
                ("r2", "q2", "session-of-r2"),
                ("r1", "q2", "session-of-r1"),
            ]
            page = await harness.reads.human_loop_requests(run_id="r1", limit=1)
            assert (page.total, [item.question_id for item in page.requests]) == (2, ["q2"])
            page = await harness.reads.human_loop_requests(run_id="r1", limit=1, cursor=page.next_cursor)
            assert (page.total, page.requests[0].answer, page.next_cursor) == (2, "r1", None)

    run(check())


def test_usage_is_summed_by_any_dimensions(database: str) -> None:
    async def check() -> None:
        async with projection_harness(database) as harness, harness.projector():
            await harness.caught_up(await append_all(harness.store, mixed_history(sessions=4)))
            total = (await harness.reads.usage(UsageFilter())).total
            assert (total["runs"], total["outputTokens"], total["costUsd"]) == (12, 600, 0.12)
            report = await harness.reads.usage(UsageFilter(), group_by=["userLoginName", "day"])
            assert report.total == total
            assert [group["userLoginName"] for group in report.groups] == sorted({f"user-{n % 11}" for n in range(12)})
            assert all(group["day"] == "2026-03-01" for group in report.groups)
            one = await harness.reads.usage(
                UsageFilter(provider="codex-cli", from_day="2026-03-01", to_day="2026-03-01")
            )
            assert one.total["runs"] == 4
            none = await harness.reads.usage(UsageFilter(to_day="2026-02-28"), group_by=["runId"])
            assert (none.groups, none.total["runs"]) == ((), 0)
            by_run = await harness.reads.usage_of_run("run-3")
            assert by_run.value is not None
            assert (by_run.value.settled, by_run.value.input_tokens) == (True, 1003)

    run(check())


def test_workers_whose_syncs_fail_come_last_and_after_pauses(database: str) -> None:
    """So a batch of them, whose gate can't be passed, never keeps others from being stopped."""
    now = datetime.now(UTC)
    failed = [sync_failed("x", "manual", final=True)] * 2

    async def check() -> None:
        async with projection_harness(database) as harness, harness.projector():
            position = 0
            for name, more in (("failing", failed), ("well", []), ("failed long ago", failed)):
                at = now - timedelta(hours=2 if name == "failed long ago" else 0)
                events = [new_event(event, f"{name}/{n}", at) for n, event in enumerate([*RUNNING, *more])]
                position = (await harness.store.append(f"session:{name}", 0, events)).position
            await harness.caught_up(position)
            later, reads = now + timedelta(hours=1), harness.reads
            assert await reads.idle_workers(idle_before=later, limit=10, failing_too=False) == [
                "well",
                "failed long ago",
            ]
            assert await reads.idle_workers(idle_before=later, limit=1, failing_too=True) == ["well"]
            assert len(await reads.idle_workers(idle_before=later, limit=10, failing_too=True)) == 3
            assert await reads.unsynced_workers(synced_before=later, limit=10) == ["well", "failed long ago"]

    run(check())


def test_housekeeping_finds_candidates_but_none_with_an_open_question(database: str) -> None:
    async def check() -> None:
        async with projection_harness(database) as harness, harness.projector():
            await append_all(harness.store, mixed_history(sessions=4))
            bound = [e.RunBound(bound_session_id="session-2"), e.HumanLoopRequested(question_id="q")]
            new = [new_event(event, str(n), EPOCH) for n, event in enumerate(bound)]
            await harness.caught_up((await harness.store.append("run:outside", 0, new)).position)
            later = EPOCH + timedelta(days=1)
            assert await harness.reads.idle_workers(idle_before=later, limit=10, failing_too=False) == ["session-0"]
            assert set(await harness.reads.unsynced_workers(synced_before=later, limit=10)) == {
                "session-0",
                "session-2",
            }
            stopped = await harness.reads.stopped_workers(stopped_before=later, limit=10, failing_too=False)
            assert set(stopped) == {"session-1", "session-3"}
            assert await harness.reads.stopped_workers(stopped_before=later, limit=1, failing_too=False) == stopped[:1]
            before = EPOCH - timedelta(days=1)
            assert await harness.reads.stopped_workers(stopped_before=before, limit=10, failing_too=False) == []

    run(check())


def asking(question_id: str, timeout_ms: int | None) -> e.HumanLoopRequested:
    return e.HumanLoopRequested(question_id=question_id, timeout_ms=timeout_ms)


def test_expired_questions_are_the_open_ones_whose_time_is_over_the_longest_overdue_first(database: str) -> None:
    hour = 3_600_000
    beyond_any_calendar = 10**17
    history = [
        e.RunBound(bound_session_id="s"),
        asking("later", 3 * hour),
        asking("first", hour),
        asking("odd \0", 2 * hour),
        asking("answered", hour),
        asking("on its way", hour),
        asking("unlimited", None),
        asking("never", beyond_any_calendar),
        e.HumanLoopReplyAccepted(question_id="answered", answer="a"),
        e.HumanLoopResolved(question_id="answered", answer="a"),
        e.HumanLoopReplyAccepted(question_id="on its way", answer="a"),
    ]

    async def check() -> None:
        async with projection_harness(database) as harness, harness.projector():
            new = [new_event(event, str(n), EPOCH) for n, event in enumerate(history)]
            await harness.caught_up((await harness.store.append("run:r", 0, new)).position)

            async def expired(after: timedelta, limit: int = 10) -> list[str]:
                found = await harness.reads.expired_questions(now=EPOCH + after, limit=limit)
                assert {run_id for run_id, _ in found} <= {"r"}
                return [question_id for _, question_id in found]

            assert await expired(timedelta(minutes=59)) == []
            assert await expired(timedelta(hours=1)) == ["first"]
            assert await expired(timedelta(days=1)) == ["first", "odd \0", "later"]
            assert await expired(timedelta(days=1), limit=2) == ["first", "odd \0"]

            await harness.rebuilt(["human_loop"])
            assert await expired(timedelta(hours=2)) == ["first", "odd \0"]

    run(check())


def test_expired_questions_are_found_by_an_index_however_many_are_open(database: str) -> None:
    """The plan reads what the index gives: no row of a question that is not due."""

    async def check() -> list[str]:
        async with projection_harness(database) as harness, harness.projector():
            asked = [asking(f"q{number}", 3_600_000 * number) for number in range(1, 1001)]
            history = [e.RunBound(bound_session_id="s"), *asked]
            new = [new_event(event, str(n), EPOCH) for n, event in enumerate(history)]
            await harness.caught_up((await harness.store.append("run:r", 0, new)).position)
            async with harness.pool.connection() as connection:
                await connection.execute("ANALYZE read_models.human_loop")
                query = f"EXPLAIN (ANALYZE, COSTS OFF) {sql.query('reads/expired_questions')}"
                parameters = {"tenant": DEFAULT_TENANT, "now": EPOCH + timedelta(hours=3), "limit": 50}
                plan = await (await connection.execute(query, parameters)).fetchall()
            return [line for (line,) in plan]

    plan = run(check())

    (scan,) = [line for line in plan if "human_loop_expiring" in line]
    assert " rows=3" in scan
    assert not any("Rows Removed by Filter" in line for line in plan)


def test_sessions_are_due_for_collection_while_a_sync_may_have_run_out(database: str) -> None:
    day = timedelta(days=1)

    async def check() -> None:
        async with projection_harness(database) as harness, harness.projector():
            await append_all(harness.store, mixed_history(sessions=2))

            async def due(at: float) -> set[str]:
                reads = harness.reads
                return set(
                    await reads.sessions_to_collect(now=EPOCH + at * day, retention=day, again_after=day, limit=10)
                )

            async def collected(session: str, at: float) -> None:
                ended = s.ContentCollected(collection_id=f"{at}", kept_syncs=1, manifests=0, contents=0, bytes=0)
                seq = await harness.store.last_seq(f"session:{session}")
                event = new_event(ended, f"collected at {at}", EPOCH + at * day)
                await harness.caught_up((await harness.store.append(f"session:{session}", seq, [event])).position)

            await collected("session-1", 2)
            assert await due(1.5) == set()
            assert await due(2.5) == {"session-0"}
            assert await due(9) == {"session-0", "session-1"}
            await collected("session-1", 8)
            assert await due(9.5) == {"session-0"}

    run(check())


def test_todo_history_is_read_off_the_log(database: str) -> None:
    async def check() -> None:
        async with projection_harness(database) as harness:
            last = await append_all(harness.store, mixed_history(sessions=1))
            history = await harness.reads.todo_history("run-0")  # no projector runs
            assert history.as_of_position == last
            assert history.value is not None
            assert [change.type for change in history.value.events] == ["todo.snapshot"] + ["todo.update"] * 4
            assert history.value.total == 5
            rest = await harness.reads.todo_history("run-0", after_seq=history.value.events[2].seq, limit=1)
            assert rest.value is not None
            assert (rest.value.total, rest.value.events) == (5, history.value.events[3:4])

    run(check())


def test_waits_are_woken_by_progress(database: str) -> None:
    async def check() -> None:
        async with projection_harness(database) as harness:
            last = await append_all(harness.store, mixed_history(sessions=1))
            assert not await harness.progress.wait_for("runs", last, timeout=0.05)
            async with harness.projector():
                assert await harness.progress.wait_for("runs", last, timeout=10)
                waits: list[float] = []
                for number in range(20):
                    event = [new_event(e.RunBound(bound_session_id="s"), "1", EPOCH)]
                    result = await harness.store.append(f"run:w{number}", 0, event)
                    began = time.monotonic()
                    assert await harness.progress.wait_for("runs", result.position, timeout=10)
                    waits.append(time.monotonic() - began)
                    page = await harness.reads.runs(RunFilter(), limit=1)
                    assert page.as_of_position >= result.position
                    assert page.items[0].run_id == f"w{number}"
                assert sorted(waits)[10] < 0.4  # far below any poll
                waiting = [
                    asyncio.create_task(harness.progress.wait_for("runs", 10**9, timeout=0.1)) for _ in range(50)
                ]
                assert not any(await asyncio.gather(*waiting))

    run(check())
