"""What callers of session workers are told: when it is done, while it is under way, and why it did not work."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pytest

from application.aggregates.aggregates import Aggregates
from application.command_context import CommandContext
from application.sessions.commands import ActivationRefused, SessionCommands, SyncRefused
from domain.errors import Conflict, IdentityConflict, NotFound, RunAttached
from domain.event import Event
from domain.identifiers import session_stream
from domain.session import events as e
from domain.session.commands import ActivateSession
from domain.session.decide import decide
from domain.session.evolve import evolve
from tests.support.async_run import run
from tests.support.log_in_memory import LogInMemory, SteppingTail
from tests.support.sessions import (
    ACTIVATE,
    ATTACHED,
    BACK_DOWN,
    BUSY,
    DELETED,
    DETACHED,
    IN_MAINTENANCE,
    LINKED,
    LOST,
    REMOVING_NOW,
    RESTORED,
    RUNNING,
    STOPPED,
    STOPPED_NOW,
    STOPPING_NOW,
    UP,
    VALIDATED,
    created,
    started,
    sync_failed,
    synced,
)
from tests.support.specification import T0, minutes

S1 = session_stream("s1")
CONTEXT = CommandContext(actor="ann", command_id="c1", correlation_id="c1")
PATIENT, AT_ONCE = 30.0, 0.0
ON_THE_WAY_UP = (created(), started(), RESTORED, LINKED, VALIDATED, UP)
GATE_FAILED = (sync_failed("gate", "pre.stop", final=True), e.StopCanceled(generation=1, reason="sync_failed"))
INTO_MAINTENANCE = IN_MAINTENANCE[-1]


@dataclass
class Scene:
    """Session commands on a log in memory. The id of every sync is `gate`. `ended`: runs that are over."""

    log: LogInMemory = field(default_factory=LogInMemory)
    ended: set[str] = field(default_factory=set)
    gone: bool = False
    candidates: list[str] = field(default_factory=list)
    asked_before: datetime | None = None

    def __post_init__(self) -> None:
        self.world = SteppingTail(self.log)
        self.commands = SessionCommands(
            sessions=Aggregates(
                store=self.log,  # type: ignore[arg-type]  # what Aggregates use of it
                clock=lambda: T0,
                stream_of=session_stream,
                decide=decide,
                evolve=evolve,
            ),
            tail=self.world,
            ensure_up=self._ensure_up,
            run_is_not_executing=self._is_not_executing,
            candidates=self,
            clock=lambda: T0 + minutes(60),
            new_id=lambda: "gate",
        )

    async def _ensure_up(self, session_id: str, context: Callable[[str], CommandContext]) -> bool:
        if self.gone:
            await self.log.happened(session_stream(session_id), LOST)
        return not self.gone

    async def _is_not_executing(self, run_id: str) -> bool:
        return run_id in self.ended

    async def idle_workers(self, *, idle_before: datetime, limit: int, failing_too: bool) -> list[str]:
        self.asked_before = idle_before
        return self.candidates[:limit]

    async def stopped_workers(self, *, stopped_before: datetime, limit: int, failing_too: bool) -> list[str]:
        self.asked_before = stopped_before
        return self.candidates[:limit]

    async def unsynced_workers(self, *, synced_before: datetime, limit: int) -> list[str]:
        return []


def after(*history: Event, session_id: str = "s1", scene: Scene | None = None, **options: Any) -> Scene:
    """The scene after a session's history."""
    scene = scene or Scene(**options)
    if history:
        run(scene.log.happened(session_stream(session_id), *history))
    return scene


def outcome(work: Awaitable[Any]) -> Any:
    async def awaited() -> Any:
        return await work

    return run(awaited())


class TestActivate:
    def test_waits_until_the_worker_is_up_and_says_what_was_done(self):
        scene = after()
        scene.world.will(S1, *((event,) for event in ON_THE_WAY_UP))
        settled = outcome(scene.commands.activate(ACTIVATE, CONTEXT, wait_s=PATIENT))
        assert (settled.pending, settled.action, settled.state.public_state) == (
            False,
            "created_and_started",
            "running",
        )
        assert settled.position == len(scene.log.of(S1))

    def test_is_pending_when_it_takes_longer_than_the_caller_waits(self):
        settled = outcome(after().commands.activate(ACTIVATE, CONTEXT, wait_s=AT_ONCE))
        assert (settled.pending, settled.action) == (True, None)

    def test_of_one_that_runs_looks_whether_it_really_does(self):
        settled = outcome(after(*RUNNING).commands.activate(ACTIVATE, CONTEXT, wait_s=AT_ONCE))
        assert (settled.pending, settled.action) == (False, "already_running")

    def test_makes_a_container_anew_that_turned_out_to_be_gone(self):
        scene = after(*RUNNING, gone=True)
        failed = e.ActivationFailed(generation=2, step="restore", error="x", discard=True)
        scene.world.will(S1, (created(2), started(generation=2)), (failed,))
        with pytest.raises(ActivationRefused):
            outcome(scene.commands.activate(ACTIVATE, CONTEXT, wait_s=PATIENT))
        assert scene.log.types(S1).count(e.ActivationRequested.wire_name) == 2

    def test_that_failed_says_why(self):
        scene = after()
        scene.world.will(S1, (e.ActivationFailed(generation=1, step="restore", error="S3 is away", discard=True),))
        with pytest.raises(ActivationRefused, match="S3 is away") as refused:
            outcome(scene.commands.activate(ACTIVATE, CONTEXT, wait_s=PATIENT))
        assert refused.value.reason == "activation_failed"

    def test_that_misses_a_required_path_names_it(self):
        failed = e.ActivationFailed(
            generation=1,
            step="validate",
            error="paths are missing",
            missing_required_paths=("/workspace/a",),
            discard=True,
        )
        scene = after()
        scene.world.will(S1, ON_THE_WAY_UP[:4], (failed,))
        with pytest.raises(ActivationRefused) as refused:
            outcome(scene.commands.activate(ACTIVATE, CONTEXT, wait_s=PATIENT))
        assert refused.value.missing_required_paths == ("/workspace/a",)
        assert refused.value.reason == "required_paths_missing"

    def test_by_somebody_else_is_refused(self):
        other = ActivateSession(session_id="s1", app_id="shop", project_name="web", user_login_name="bob")
        with pytest.raises(IdentityConflict):
            outcome(after(*RUNNING).commands.activate(other, CONTEXT, wait_s=PATIENT))


class TestStop:
    def test_waits_for_the_gate_and_the_container(self):
        scene = after(*RUNNING)
        scene.world.will(S1, (synced("gate", "pre.stop"), STOPPING_NOW), (STOPPED_NOW,))
        settled = outcome(scene.commands.stop("s1", CONTEXT, wait_s=PATIENT))
        assert (settled.pending, settled.state.public_state) == (False, "stopped")

    @pytest.mark.parametrize(("history", "state"), [(STOPPED, "stopped"), (DELETED, "deleted")])
    def test_of_what_is_down_already_succeeds_at_once(self, history, state):
        settled = outcome(after(*history).commands.stop("s1", CONTEXT, wait_s=AT_ONCE))
        assert (settled.pending, settled.state.public_state) == (False, state)

    def test_whose_gate_fails_says_why_and_leaves_the_worker_as_it_was(self):
        scene = after(*RUNNING)
        scene.world.will(S1, GATE_FAILED)
        with pytest.raises(SyncRefused, match="not stopped: S3 is away"):
            outcome(scene.commands.stop("s1", CONTEXT, wait_s=PATIENT))

    def test_that_a_message_overtakes_says_so(self):
        scene = after(*RUNNING)
        scene.world.will(S1, (e.StopCanceled(generation=1, reason="message"),))
        with pytest.raises(SyncRefused, match="a message came in between"):
            outcome(scene.commands.stop("s1", CONTEXT, wait_s=PATIENT))

    def test_of_one_that_somebody_else_is_stopping_fails_with_that_stop(self):
        under_way = e.StopRequested(generation=1, reason="idle", sync_id="other")
        for canceled, told in (("message", "a message came in between"), ("sync_failed", "S3 is away")):
            failed = (sync_failed("other", "pre.stop", final=True),) if canceled == "sync_failed" else ()
            scene = after(*RUNNING, under_way)
            scene.world.will(S1, (*failed, e.StopCanceled(generation=1, reason=canceled)))
            with pytest.raises(SyncRefused, match=told):
                outcome(scene.commands.stop("s1", CONTEXT, wait_s=PATIENT))

    def test_is_refused_while_a_run_is_attached(self):
        with pytest.raises(RunAttached):
            outcome(after(*BUSY).commands.stop("s1", CONTEXT, wait_s=PATIENT))

    def test_waits_for_a_run_that_has_ended_to_let_go(self):
        scene = after(*BUSY, ended={"r1"})
        scene.world.will(S1, (DETACHED,), (synced("gate", "pre.stop"), STOPPING_NOW, STOPPED_NOW))
        settled = outcome(scene.commands.stop("s1", CONTEXT, wait_s=PATIENT))
        assert settled.state.public_state == "stopped"

    def test_of_an_unknown_session_is_not_found(self):
        with pytest.raises(NotFound):
            outcome(after().commands.stop("s1", CONTEXT, wait_s=PATIENT))


class TestSync:
    def test_waits_for_its_end(self):
        scene = after(*RUNNING)
        scene.world.will(S1, (synced("gate", "manual"),))
        settled = outcome(scene.commands.sync("s1", CONTEXT, wait_s=PATIENT))
        assert (settled.pending, settled.state.settled_sync("gate").sync is not None) == (False, True)

    def test_that_failed_says_why(self):
        scene = after(*RUNNING)
        scene.world.will(S1, (sync_failed("gate", "manual", final=True, error="no room"),))
        with pytest.raises(SyncRefused, match="no room"):
            outcome(scene.commands.sync("s1", CONTEXT, wait_s=PATIENT))

    @pytest.mark.parametrize("history", [STOPPED, DELETED])
    def test_needs_a_running_worker(self, history):
        with pytest.raises(Conflict):
            outcome(after(*history).commands.sync("s1", CONTEXT, wait_s=PATIENT))

    def test_is_pending_when_it_takes_longer_than_the_caller_waits(self):
        assert outcome(after(*RUNNING).commands.sync("s1", CONTEXT, wait_s=AT_ONCE)).pending


class TestRemove:
    def test_waits_for_the_gate_in_maintenance(self):
        scene = after(*STOPPED)
        gate = (synced("gate", "pre.remove", 2), REMOVING_NOW)
        scene.world.will(S1, (INTO_MAINTENANCE,), gate, (e.SessionRemoved(generation=1),))
        settled = outcome(scene.commands.remove("s1", CONTEXT, wait_s=PATIENT))
        assert (settled.pending, settled.state.public_state) == (False, "deleted")

    def test_whose_gate_fails_says_why(self):
        scene = after(*STOPPED)
        failed = sync_failed("gate", "pre.remove", final=True)
        scene.world.will(S1, (INTO_MAINTENANCE,), (failed, BACK_DOWN), (STOPPED_NOW,))
        with pytest.raises(SyncRefused, match="not removed: S3 is away"):
            outcome(scene.commands.remove("s1", CONTEXT, wait_s=PATIENT))

    def test_of_one_that_somebody_else_is_removing_fails_with_that_removal(self):
        under_way = e.RemoveRequested(generation=1, sync_id="other")
        scene = after(*STOPPED, under_way)
        failed = sync_failed("other", "pre.remove", final=True)
        scene.world.will(S1, (INTO_MAINTENANCE,), (failed, BACK_DOWN), (STOPPED_NOW,))
        with pytest.raises(SyncRefused, match="not removed: S3 is away"):
            outcome(scene.commands.remove("s1", CONTEXT, wait_s=PATIENT))

    def test_of_what_is_removed_already_succeeds(self):
        settled = outcome(after(*DELETED).commands.remove("s1", CONTEXT, wait_s=AT_ONCE))
        assert settled.state.public_state == "deleted"


class TestCleanup:
    """One of each: a worker that stops, one that is busy by now, one whose gate fails, one that nobody knows."""

    def idle_ones(self) -> Scene:
        scene = after(*RUNNING)
        after(*RUNNING, ATTACHED, session_id="busy", scene=scene)
        after(*RUNNING, session_id="failing", scene=scene)
        scene.candidates = ["s1", "busy", "failing", "nobody"]
        scene.world.will(S1, (synced("gate", "pre.stop"), STOPPING_NOW, STOPPED_NOW))
        scene.world.will(session_stream("failing"), GATE_FAILED)
        return scene

    def test_counts_what_became_of_each(self):
        scene = self.idle_ones()
        counts = outcome(
            scene.commands.cleanup_idle(idle_timeout=timedelta(minutes=15), limit=10, context=CONTEXT, wait_s=PATIENT)
        )
        assert (counts.total, counts.succeeded, counts.skipped, counts.failed) == (4, 1, 1, 2)
        assert scene.asked_before == T0 + minutes(45)

    def test_takes_no_more_than_its_limit(self):
        scene = self.idle_ones()
        counts = outcome(
            scene.commands.cleanup_idle(idle_timeout=timedelta(minutes=15), limit=1, context=CONTEXT, wait_s=PATIENT)
        )
        assert (counts.total, counts.succeeded) == (1, 1)

    def test_skips_a_worker_that_was_active_meanwhile(self):
        scene = after(*RUNNING, e.SessionTouched(generation=1))
        scene.candidates = ["s1"]
        counts = outcome(
            scene.commands.cleanup_idle(idle_timeout=timedelta(minutes=90), limit=1, context=CONTEXT, wait_s=PATIENT)
        )
        assert (counts.total, counts.skipped) == (1, 1)
        assert e.StopRequested.wire_name not in scene.log.types(S1)

    def test_removes_what_was_stopped_for_long(self):
        scene = after(*STOPPED)
        scene.candidates = ["s1"]
        gate = (synced("gate", "pre.remove", 2), REMOVING_NOW)
        scene.world.will(S1, (INTO_MAINTENANCE,), gate, (e.SessionRemoved(generation=1),))
        counts = outcome(
            scene.commands.cleanup_stopped(remove_after=timedelta(0), limit=10, context=CONTEXT, wait_s=PATIENT)
        )
        assert (counts.succeeded, counts.failed) == (1, 0)


def test_each_command_of_a_cleanup_has_an_id_of_its_own():
    """So that a cleanup that is asked for twice stops nobody twice."""
    scene = after(*RUNNING)
    after(*RUNNING, session_id="s2", scene=scene)
    scene.candidates = ["s1", "s2"]
    for _ in range(2):
        outcome(scene.commands.cleanup_idle(idle_timeout=timedelta(0), limit=2, context=CONTEXT, wait_s=AT_ONCE))
    for stream in (S1, session_stream("s2")):
        assert scene.log.types(stream).count(e.StopRequested.wire_name) == 1
