"""The reconcilers and the schedule: what each round finds, does and leaves in the log."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from application.aggregates.reconcile_log import ReconcileLog
from application.command_context import CommandContext
from application.operations.orphans import CleanOrphans, OrphanCounts
from application.operations.queue_reconciliation import ReconcileRunQueue
from application.operations.reconcilers import Reconcilers
from application.operations.schedule import Schedule
from application.ports.operations import Takeover
from application.ports.run_queue import LostRun
from application.runs.commands import RunCommands
from application.runs.limits import RunLimits
from application.sessions.commands import SessionCommands
from application.sessions.content_collection import RequestCollections
from domain.operations.events import ReconcileFinished
from domain.run.commands import ClaimRun, RecordJournalEntry, StartAgent
from domain.run.events import HumanLoopRequested
from domain.session.commands import ActivateSession
from tests.support.async_run import run
from tests.support.executor_in_memory import executor_error
from tests.support.world_in_memory import MemoryQueue, World, context, now, until, world

STALE_AFTER = timedelta(minutes=30)
SILENCE = timedelta(hours=6)
LATER = datetime.now(UTC) + timedelta(days=1)


class Candidates:
    """What the read models would point at."""

    def __init__(self, **found: list[str]) -> None:
        self._found = found
        self.asked: dict[str, datetime] = {}

    async def idle_workers(self, *, idle_before: datetime, limit: int, failing_too: bool) -> list[str]:
        return self._found.get("idle", [])[:limit]

    async def stopped_workers(self, *, stopped_before: datetime, limit: int, failing_too: bool) -> list[str]:
        return self._found.get("stopped", [])[:limit]

    async def unsynced_workers(self, *, synced_before: datetime, limit: int) -> list[str]:
        self.asked["unsynced"] = synced_before
        return self._found.get("unsynced", [])[:limit]


class Questions:
    def __init__(self, *found: tuple[str, str]) -> None:
        self._found = list(found)

    async def expired_questions(self, *, now: datetime, limit: int) -> list[tuple[str, str]]:
        return self._found[:limit]


class ExternalRuns:
    def __init__(self, *found: str) -> None:
        self._found = list(found)
        self.asked: list[datetime | None] = []

    async def overdue_external_runs(
        self, *, bound_before: datetime | None, silent_before: datetime | None, limit: int
    ) -> list[str]:
        self.asked = [bound_before, silent_before]
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


class StaleRuns:
    """The runs whose lease has run out, once; of `broken_off` of them the execution breaks off again."""

    def __init__(self, *run_ids: str, broken_off: int = 0) -> None:
        self._due = Takeover(run_ids=run_ids, broken_off=broken_off)
        self.waited_s: float | None = None

    async def take_over(self, *, limit: int, wait_s: float) -> Takeover:
        due, self._due = self._due, Takeover()
        self.waited_s = wait_s
        return due


class StaleEffects:
    def __init__(self, *found: str) -> None:
        self._found = found

    async def free_stale(self) -> Sequence[str]:
        found, self._found = self._found, ()
        return found


def commands(made: World, candidates: Candidates, new_id: Callable[[], str]) -> SessionCommands:
    return SessionCommands(
        sessions=made.sessions,
        tail=made.log,
        ensure_up=made.workers.ensure_up,
        run_is_not_executing=lambda _run_id: _true(),
        candidates=candidates,
        clock=now,
        new_id=new_id,
    )


def schedule(made: World, **parts: Any) -> Schedule:
    numbers = iter(range(100))

    def new_id() -> str:
        return f"id{next(numbers)}"

    return Schedule(
        sessions=commands(made, parts.get("candidates", Candidates()), new_id),
        reconcilers=reconcilers(made, **parts),
        new_id=new_id,
        idle_timeout=timedelta(0),
        remove_after=timedelta(0),
    )


def reconcilers(made: World, **parts: Any) -> Reconcilers:
    reconcile_log = ReconcileLog(store=made.log, clock=now)
    numbers = iter(range(100))
    candidates = parts.get("candidates", Candidates())
    return Reconcilers(
        sessions=commands(made, candidates, lambda: f"sync{next(numbers)}"),
        runs=run_commands(made),
        stale_runs=parts.get("stale_runs", StaleRuns()),
        candidates=candidates,
        questions=parts.get("questions", Questions()),
        external_runs=parts.get("external_runs", ExternalRuns()),
        external_run_limits=RunLimits(run=timedelta(hours=24), silence=SILENCE),
        orphans=parts.get("orphans", Orphans()),
        effects=parts.get("effects", StaleEffects()),
        collections=parts.get("collections", Collections()),
        queue_reconciliation=ReconcileRunQueue(
            runs=made.runs, queue=parts.get("queue", made.queue), store=made.log, reconcile_log=reconcile_log
        ),
        reconcile_log=reconcile_log,
        clock=parts.get("clock", now),
        stale_sync_after=STALE_AFTER,
    )


def run_commands(made: World) -> RunCommands:
    nobody: Any = None
    return RunCommands(
        runs=made.runs,
        sessions=made.sessions,
        tail=made.log,
        providers=nobody,
        new_id=lambda: "x",
        redact=nobody,
        secrets=nobody,
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
            candidates = Candidates(unsynced=["a", "unknown"])
            at = now()
            counts = await reconcilers(made, candidates=candidates, clock=lambda: at).compensate_syncs(context("round"))
            await until(made.log, lambda: "session.synced" in made.log.types("session:a"))
            return (
                counts,
                made.log.last("reconcile:syncs"),
                at - candidates.asked["unsynced"],
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
            early = await reconcilers(made, questions=Questions(("r", "q"))).expire_questions(context("early"))
            assert "human_loop.expired" not in made.log.types("run:r"), early
            counts = await reconcilers(
                made, questions=Questions(("r", "q"), ("unknown", "q")), clock=lambda: LATER
            ).expire_questions(context("later"))
            return counts, made.log.types("run:r")

    counts, types = run(scene())

    assert (counts.examined, counts.acted, counts.failed) == (2, 1, 1)
    assert types[-1] == "human_loop.expired"


def test_effects_of_workers_that_are_gone_are_given_to_others() -> None:
    async def scene() -> tuple[Any, Any, list[str]]:
        async with world() as made:
            rounds = reconcilers(made, effects=StaleEffects("e1", "e2"))
            first, then = await rounds.free_effects(context("1")), await rounds.free_effects(context("2"))
            return first, then, made.log.types("reconcile:effects")

    first, then, types = run(scene())

    assert (first.examined, first.acted) == (2, 2)
    assert then.examined == 0
    assert types == ["reconcile.finished"]  # a round that finds nothing leaves nothing


def test_stale_runs_are_taken_over_missing_ones_restored_and_questions_expired_in_one_round() -> None:
    async def scene() -> tuple[Any, list[Any], float | None]:
        async with world() as made:
            await asked(made, "r", "q")
            stale = StaleRuns("gone", "broken", broken_off=1)
            parts = {"stale_runs": stale, "queue": QueueWithGaps("r"), "questions": Questions(("r", "q"))}
            counts = await reconcilers(made, clock=lambda: LATER, **parts).reconcile_runs(context("round"), wait_s=1)
            reconcile_log = [*made.log.of("reconcile:runs"), *made.log.of("reconcile:questions")]
            return counts, [each.event for each in reconcile_log], stale.waited_s

    counts, reconcile_log, waited_s = run(scene())

    assert (counts.examined, counts.acted, counts.failed) == (4, 3, 1)
    assert reconcile_log == [
        ReconcileFinished(what="runs", examined=1, acted=1, subjects=("r",)),
        ReconcileFinished(what="runs", examined=2, acted=1, failed=1, subjects=("gone", "broken")),
        ReconcileFinished(what="questions", examined=1, acted=1, subjects=("r",)),
    ]
    assert waited_s == 0.5


def test_an_orphan_that_is_kept_is_recorded_once_by_the_clock_and_each_time_on_request() -> None:
    kept = OrphanCounts(found=1, kept=1, container_ids=("c",))

    async def scene() -> list[Any]:
        async with world() as made:
            rounds = reconcilers(made, orphans=Orphans(kept, kept, kept))
            await rounds.clean_orphans(context("1"), only_news=True)
            await rounds.clean_orphans(context("2"), only_news=True)
            counts = await rounds.clean_orphans(context("on request"))
            return [counts, *[event.event for event in made.log.of("reconcile:orphans")]]

    counts, *reconcile_log = run(scene())

    assert (counts.examined, counts.acted, counts.failed) == (1, 0, 0)
    assert reconcile_log == [ReconcileFinished(what="orphans", examined=1, acted=0, subjects=("c",))] * 2


def test_idle_workers_are_stopped_side_by_side_and_one_that_fails_holds_up_nobody() -> None:
    async def scene() -> tuple[Any, list[str], list[str]]:
        async with world() as made:
            await running(made, "a", "b", "c")
            made.executor(session_id="b").troubles["sync"] = [executor_error("disk_full", status=507)]
            counts = await schedule(made, candidates=Candidates(idle=["a", "b", "c"])).stop_idle(context("idle"))
            return counts, made.log.types("session:a"), made.log.types("session:b")

    counts, stopped, failed = run(scene())

    assert (counts.total, counts.succeeded, counts.failed) == (3, 2, 1)
    assert stopped[-1] == "session.stopped"
    assert failed[-1] == "session.stop_canceled"


def test_all_that_is_due_is_done_by_the_clock_as_soon_as_it_works() -> None:
    reconcile_log = ("syncs", "orphans", "effects", "runs", "collections", "questions")

    async def scene() -> World:
        async with world() as made:
            await running(made, "idle", "old", "stopped")
            await asked(made, "r", "q")
            await schedule(made, candidates=Candidates(idle=["stopped"])).stop_idle(context("idle"))
            due = schedule(
                made,
                candidates=Candidates(idle=["idle"], stopped=["stopped"], unsynced=["old"]),
                questions=Questions(("r", "q")),
                orphans=Orphans(OrphanCounts(found=1, removed=1, container_ids=("c",))),
                effects=StaleEffects("e"),
                queue=QueueWithGaps("r"),
                collections=Collections("old"),
                clock=lambda: LATER,
            )
            working = asyncio.create_task(due.run())
            await until(made.log, lambda: all(made.log.of(f"reconcile:{what}") for what in reconcile_log))
            await until(made.log, lambda: "session.stopped" in made.log.types("session:idle"))
            await until(made.log, lambda: "session.removed" in made.log.types("session:stopped"))
            await until(made.log, lambda: "session.synced" in made.log.types("session:old"))
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)
            return made

    made = run(scene())

    for what in reconcile_log:
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
