"""What is done by the clock: what each round finds, does and leaves in the log."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from application.command_context import CommandContext
from application.content_collection import RequestCollections
from application.findings import Findings
from application.missing_runs import RestoreMissingRuns
from application.orphans import CleanOrphans, OrphanCounts
from application.run_commands import RunCommands
from application.run_queue import LostRun
from application.schedule import Schedule
from application.session_commands import SessionCommands
from domain.operations.events import ReconcileFinished
from domain.run.commands import ClaimRun, RecordJournalEntry, StartAgent
from domain.run.events import HumanLoopRequested
from domain.session.commands import ActivateSession
from tests.support.async_run import run
from tests.support.world_in_memory import MemoryQueue, World, context, executor_error, now, until, world

STALE_AFTER = timedelta(minutes=30)
LATER = datetime.now(UTC) + timedelta(days=1)


class Candidates:
    """What the read models would point at."""

    def __init__(self, **found: list[str]) -> None:
        self._found = found
        self.asked: dict[str, datetime] = {}

    async def idle(self, before: datetime, limit: int) -> list[str]:
        return self._found.get("idle", [])[:limit]

    async def stopped(self, before: datetime, limit: int) -> list[str]:
        return self._found.get("stopped", [])[:limit]

    async def stale_syncs(self, synced_before: datetime, limit: int) -> list[str]:
        self.asked["stale_syncs"] = synced_before
        return self._found.get("stale_syncs", [])[:limit]


class Questions:
    def __init__(self, *found: tuple[str, str]) -> None:
        self._found = list(found)

    async def expired(self, now: datetime, limit: int) -> list[tuple[str, str]]:
        return self._found[:limit]


class Orphans(CleanOrphans):
    """Finds what the test says, round by round."""

    def __init__(self, *rounds: OrphanCounts) -> None:
        self._rounds = list(rounds)

    async def clean(self, limit: int, context: Any) -> OrphanCounts:
        return self._rounds.pop(0)


class Collections(RequestCollections):
    """Asks for what the test says, once."""

    def __init__(self, *found: str) -> None:
        self._due = [*found]

    async def request_due(self, limit: int, context: CommandContext) -> tuple[list[str], list[str]]:
        due, self._due = self._due, []
        return due, []


class QueueWithGaps(MemoryQueue):
    """The rows of these runs are gone, until they are restored."""

    def __init__(self, *gone: str) -> None:
        super().__init__()
        self._gone = [*gone]

    async def missing(self, limit: int) -> Sequence[str]:
        return [*self._gone]

    async def restore(self, lost: LostRun) -> bool:
        self._gone.remove(lost.run_id)
        return True


class StaleEffects:
    def __init__(self, *found: str) -> None:
        self._found = found

    async def free_stale(self) -> Sequence[str]:
        found, self._found = self._found, ()
        return found


def schedule(made: World, **parts: Any) -> Schedule:
    numbers, findings = iter(range(100)), Findings(store=made.log, clock=now)
    candidates = parts.get("candidates", Candidates())
    commands = SessionCommands(
        sessions=made.sessions,
        tail=made.log,
        ensure_up=made.workers.ensure_up,
        run_has_ended=lambda _run_id: _true(),
        candidates=candidates,
        clock=now,
        new_id=lambda: f"id{next(numbers)}",
    )
    runs = RunCommands(runs=made.runs, tail=made.log, providers=None, new_id=lambda: "x")  # type: ignore[arg-type]
    return Schedule(
        sessions=commands,
        runs=runs,
        candidates=candidates,
        questions=parts.get("questions", Questions()),
        orphans=parts.get("orphans", Orphans()),
        effects=parts.get("effects", StaleEffects()),
        collections=parts.get("collections", Collections()),
        missing_runs=RestoreMissingRuns(
            runs=made.runs, queue=parts.get("queue", made.queue), store=made.log, findings=findings
        ),
        findings=findings,
        clock=parts.get("clock", now),
        new_id=lambda: f"id{next(numbers)}",
        idle_timeout=timedelta(0),
        remove_after=timedelta(0),
        stale_sync_after=STALE_AFTER,
    )


async def _true() -> bool:
    return True


async def running(made: World, *session_ids: str) -> None:
    for session_id in session_ids:
        command = ActivateSession(session_id=session_id, app_id="app", project_name="default", user_login_name="ada")
        await made.sessions.handle(session_id, command, context(f"activate/{session_id}"))
    await until(made.log, lambda: all("session.activated" in made.log.types(f"session:{one}") for one in session_ids))


async def asked(made: World, run_id: str, question_id: str) -> None:
    """A run has asked a question that waits a second for its answer."""
    await made.queued(run_id, "s")
    question = HumanLoopRequested(question_id=question_id, prompt="?", timeout_ms=1000)
    commands: list[tuple[Any, str]] = [
        (ClaimRun(lease_generation=1, owner="w"), ""),
        (StartAgent(lease_generation=1, generation=1, boot_id="b"), ""),
        (RecordJournalEntry(lease_generation=1, attempt=1, n=1, event=question), f"{run_id}/1/b/1"),
    ]
    await made.runs.handle_batch(run_id, commands, context("asked"))


def test_workers_whose_sync_is_too_old_are_synced_and_those_that_can_not_be_are_counted() -> None:
    async def scene() -> tuple[Any, Any, timedelta, list[str]]:
        async with world() as made:
            await running(made, "a")
            candidates = Candidates(stale_syncs=["a", "unknown"])
            at = now()
            counts = await schedule(made, candidates=candidates, clock=lambda: at).compensate_syncs()
            await until(made.log, lambda: "session.synced" in made.log.types("session:a"))
            return (
                counts,
                made.log.last("reconcile:syncs"),
                at - candidates.asked["stale_syncs"],
                made.log.types("session:a"),
            )

    counts, finding, age, types = run(scene())

    assert (counts.examined, counts.acted, counts.failed) == (2, 1, 1)
    assert finding == ReconcileFinished(what="syncs", examined=2, acted=1, failed=1, subjects=("a", "unknown"))
    assert age == STALE_AFTER
    assert types[-2:] == ["session.sync_requested", "session.synced"]


def test_a_question_expires_once_its_time_is_over_by_its_own_stream() -> None:
    async def scene() -> tuple[Any, list[str]]:
        async with world() as made:
            await asked(made, "r", "q")
            early = await schedule(made, questions=Questions(("r", "q"))).expire_questions()
            assert "human_loop.expired" not in made.log.types("run:r"), early
            counts = await schedule(
                made, questions=Questions(("r", "q"), ("unknown", "q")), clock=lambda: LATER
            ).expire_questions(context("on request"))
            return counts, made.log.types("run:r")

    counts, types = run(scene())

    assert (counts.examined, counts.acted, counts.failed) == (2, 1, 1)
    assert types[-1] == "human_loop.expired"


def test_effects_of_workers_that_are_gone_are_given_to_others() -> None:
    async def scene() -> tuple[Any, Any, list[str]]:
        async with world() as made:
            rounds = schedule(made, effects=StaleEffects("e1", "e2"))
            first, then = await rounds.free_effects(), await rounds.free_effects()
            return first, then, made.log.types("reconcile:effects")

    first, then, findings = run(scene())

    assert (first.examined, first.acted) == (2, 2)
    assert then.examined == 0
    assert findings == ["reconcile.finished"]  # a round that finds nothing leaves nothing


def test_an_orphan_that_is_kept_is_found_once_by_the_clock_and_each_time_on_request() -> None:
    kept = OrphanCounts(found=1, kept=1, container_ids=("c",))

    async def scene() -> list[Any]:
        async with world() as made:
            rounds = schedule(made, orphans=Orphans(kept, kept, kept))
            await rounds.clean_orphans()
            await rounds.clean_orphans()
            counts = await rounds.clean_orphans(context("on request"))
            return [counts, *[event.event for event in made.log.of("reconcile:orphans")]]

    counts, *findings = run(scene())

    assert (counts.examined, counts.acted, counts.failed) == (1, 0, 0)
    assert findings == [ReconcileFinished(what="orphans", examined=1, acted=0, subjects=("c",))] * 2


def test_idle_workers_are_stopped_side_by_side_and_one_that_fails_holds_up_nobody() -> None:
    async def scene() -> tuple[Any, list[str], list[str]]:
        async with world() as made:
            await running(made, "a", "b", "c")
            made.executor(session_id="b").troubles["sync"] = [executor_error("disk_full", status=507)]
            counts = await schedule(made, candidates=Candidates(idle=["a", "b", "c"]), clock=lambda: LATER).stop_idle()
            return counts, made.log.types("session:a"), made.log.types("session:b")

    counts, stopped, failed = run(scene())

    assert (counts.total, counts.succeeded, counts.failed) == (3, 2, 1)
    assert stopped[-1] == "session.stopped"
    assert failed[-1] == "session.stop_canceled"


def test_all_that_is_due_is_done_by_the_clock_as_soon_as_it_works() -> None:
    findings = ("syncs", "orphans", "effects", "runs", "collections", "questions")

    async def scene() -> World:
        async with world() as made:
            await running(made, "idle", "old", "stopped")
            await asked(made, "r", "q")
            await schedule(made, candidates=Candidates(idle=["stopped"]), clock=lambda: LATER).stop_idle()
            due = schedule(
                made,
                candidates=Candidates(idle=["idle"], stopped=["stopped"], stale_syncs=["old"]),
                questions=Questions(("r", "q")),
                orphans=Orphans(OrphanCounts(found=1, removed=1, container_ids=("c",))),
                effects=StaleEffects("e"),
                queue=QueueWithGaps("r"),
                collections=Collections("old"),
                clock=lambda: LATER,
            )
            working = asyncio.create_task(due.run())
            await until(made.log, lambda: all(made.log.of(f"reconcile:{what}") for what in findings))
            await until(made.log, lambda: "session.stopped" in made.log.types("session:idle"))
            await until(made.log, lambda: "session.removed" in made.log.types("session:stopped"))
            await until(made.log, lambda: "session.synced" in made.log.types("session:old"))
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)
            return made

    made = run(scene())

    for what in findings:
        ((finding, actor),) = [(each.event, each.metadata.actor) for each in made.log.of(f"reconcile:{what}")]
        assert isinstance(finding, ReconcileFinished)
        assert (finding.what, finding.acted, finding.failed, actor) == (what, 1, 0, "schedule")
    for stream, wanted in (
        ("session:idle", "session.stop_requested"),
        ("session:stopped", "session.remove_requested"),
        ("session:old", "session.sync_requested"),
        ("run:r", "human_loop.expired"),
    ):
        actors = [each.metadata.actor for each in made.log.of(stream) if each.event.wire_name == wanted]
        assert actors == ["schedule"], stream
