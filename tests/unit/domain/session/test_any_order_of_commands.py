"""Whatever comes in whatever order: the sync gate holds, and the log tells the whole state."""

import pytest
from hypothesis import seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from msgspec.structs import replace

from domain.session import commands as c
from domain.session import events as e
from domain.session.decide import decide
from domain.session.evolve import evolve
from domain.session.state import (
    Activating,
    Boot,
    Container,
    PendingRemove,
    PendingStop,
    Removing,
    Running,
    SessionWorker,
    Stopped,
    Stopping,
)
from domain.workspace.sync import SyncRef
from tests.support.live_aggregate import LiveAggregate
from tests.support.samples import samples
from tests.support.sessions import ACTIVATE, MANIFEST, NEWER, sync_ref
from tests.unit.domain.session.log_rules import check_log

pytestmark = pytest.mark.timeout(400)  # a failure is shrunk before it is shown

RUNS = st.sampled_from(["r1", "r2"])
OFFSET = st.sampled_from([0, 0, 0, 0, -1, 1])  # of the generation that an effect works for: mostly the present one
FREE_REASONS = st.sampled_from(["message.stop", "run.finished", "compensation", "manual", "pre.stop", "pre.remove"])
RARELY = st.sampled_from([False, False, False, True])
PURPOSES = st.sampled_from(["activation", "maintenance", "revival"])

# What these have led to is found by its event id when they come again much later; sync ids are used once.
ASKING = (c.StopSession, c.RemoveSession, c.RequestSync)


class AnyOrderOfCommands(RuleBasedStateMachine):
    """Beside the aggregate stands a world: a workspace whose content has a version that an attached agent raises, and
    an executor whose syncs hold the version of the moment they ran; their results may be recorded late or twice."""

    def __init__(self) -> None:
        super().__init__()
        self.worker: LiveAggregate[SessionWorker] = LiveAggregate(decide, evolve)
        self.version = 0
        self.sync_ids: list[str] = []
        self.results: list[c.RecordSynced] = []
        self.reports: list[object] = []
        self.boots = 0
        self.recorded: list[SyncRef] = []

    def send(self, command: object, *, report: bool = True) -> None:
        present = self.generation(0)
        new = self.worker.send(command)
        assert not new or getattr(command, "generation", present) == present, "an effect of another generation is heard"
        for event in new:
            if not isinstance(command, c.DiscardWorkspace):
                self.observe(event)
        if report:
            self.worker.assert_repeat_changes_nothing(command)
            if not (new and isinstance(command, ASKING)):
                self.reports.append(command)

    def observe(self, event: object) -> None:
        match event:
            case e.SessionStopping() | e.SessionRemoving():
                recorded = self.state.last_sync
                assert recorded == sync_ref(self.version), "the gate let unsynced work through"
            case e.SessionSynced(sync=sync):
                self.recorded.append(sync)
            case e.ActivationRequested(kind="create", plan=plan):
                self.version = int(plan.session_sync.manifest_hash, 16) if plan.session_sync is not None else 0

    @property
    def state(self) -> SessionWorker:
        assert self.worker.state is not None
        return self.worker.state

    def generation(self, offset: int) -> int:
        return self.state.generation + offset if self.worker.state else 1

    def new_sync_id(self) -> str:
        self.sync_ids.append(f"sync-{len(self.sync_ids)}")
        return self.sync_ids[-1]

    @initialize(steps=st.sampled_from([5, 5, 5, 5, 5, 2, 0]))
    def begin(self, steps):
        self.send(ACTIVATE, report=False)
        self.all_goes_well(steps, down=False)

    @rule(
        manifest=st.sampled_from([None, None, MANIFEST, NEWER]),
        user=st.sampled_from(["ann", "ann", "ann", "bob"]),
        version=st.sampled_from([None, None, "1"]),
    )
    def activate(self, manifest, user, version):
        command = replace(ACTIVATE, manifest=manifest, user_login_name=user, runtime_version=version)
        self.send(command, report=False)

    @rule(offset=OFFSET)
    def container_created(self, offset):
        container = Container(container_id="c", runtime="process", daemon_id="d")
        self.send(c.RecordContainerCreated(generation=self.generation(offset), container=container))

    @rule(offset=OFFSET, purpose=PURPOSES, same=st.booleans())
    def container_started(self, offset, purpose, same):
        self.boots += not same
        boot = Boot(boot_id=f"b{self.boots}", url="http://127.0.0.1:1")
        self.send(c.RecordContainerStarted(generation=self.generation(offset), boot=boot, purpose=purpose))

    @precondition(lambda self: self.worker.state is not None)
    @rule(offset=OFFSET, right=st.booleans())
    def restored(self, offset, right):
        sync = self.state.plan.session_sync if right else sync_ref(999)
        self.send(c.RecordWorkspaceRestored(generation=self.generation(offset), files=1, bytes=1, sync=sync))

    @rule(offset=OFFSET)
    def linked(self, offset):
        self.send(c.RecordAgentDataLinked(generation=self.generation(offset)))

    @rule(offset=OFFSET, missing=st.sampled_from([(), (), ("/workspace/a",)]))
    def validated(self, offset, missing):
        self.send(c.RecordWorkspaceValidated(generation=self.generation(offset), missing_required_paths=missing))

    @rule(offset=OFFSET, step=st.sampled_from(["create", "start", "restore", "link", "validate"]), really=RARELY)
    def activation_failed(self, offset, step, really):
        if really:
            self.send(c.FailActivation(generation=self.generation(offset), step=step, error="x"))

    @rule(run_id=RUNS)
    def attach(self, run_id):
        self.send(c.AttachRun(run_id=run_id))

    @rule(run_id=st.sampled_from(["r2", "o1", "o2"]))
    def attach_external(self, run_id):
        self.send(c.AttachRun(run_id=run_id, outside=True))

    @rule(run_id=RUNS | st.sampled_from(["o1", "o2"]))
    def detach(self, run_id):
        self.send(c.DetachRun(run_id=run_id))

    @precondition(lambda self: self.worker.state and self.state.attached_runs)
    @rule()
    def agent_writes(self):
        if isinstance(self.state.lifecycle, Running):
            self.version += 1

    @rule(reason=FREE_REASONS)
    def request_sync(self, reason):
        self.send(c.RequestSync(sync_id=self.new_sync_id(), reason=reason))

    @precondition(lambda self: self.worker.state and self.state.boot and self.state.restored and self.sync_ids)
    @rule(data=st.data(), offset=OFFSET)
    def executor_syncs(self, data, offset):
        sync_id = data.draw(st.sampled_from(self.sync_ids[-4:]))
        result = c.RecordSynced(generation=self.generation(offset), sync_id=sync_id, sync=sync_ref(self.version))
        self.results.append(result)

    @precondition(lambda self: self.worker.state and isinstance(self.state.lifecycle, Running))
    @rule(reason=FREE_REASONS)
    def a_sync_goes_through(self, reason):
        self.request_sync(reason)
        generation, sync_id = self.state.generation, self.sync_ids[-1]
        self.send(c.RecordSynced(generation=generation, sync_id=sync_id, sync=sync_ref(self.version)))

    @precondition(lambda self: self.results)
    @rule(data=st.data())
    def sync_is_recorded(self, data):
        self.send(data.draw(st.sampled_from(self.results)))

    @precondition(lambda self: self.sync_ids)
    @rule(data=st.data(), offset=OFFSET, final=st.booleans())
    def sync_fails(self, data, offset, final):
        sync_id = data.draw(st.sampled_from(self.sync_ids))
        generation = self.generation(offset)
        self.send(c.RecordSyncFailed(generation=generation, sync_id=sync_id, error="x", attempt=1, final=final))

    @rule(reason=st.sampled_from(["user_close", "idle", "shutdown"]), idle=st.booleans())
    def stop(self, reason, idle):
        before = self.worker.now if idle else None
        self.send(c.StopSession(reason=reason, sync_id=self.new_sync_id(), idle_before=before))

    @rule(offset=OFFSET)
    def stopped(self, offset):
        self.send(c.RecordStopped(generation=self.generation(offset)))

    @rule(scheduled=st.booleans())
    def remove(self, scheduled):
        before = self.worker.now if scheduled else None
        self.send(c.RemoveSession(sync_id=self.new_sync_id(), stopped_before=before))

    @precondition(lambda self: self.recorded)
    @rule(data=st.data())
    def restore(self, data):
        sync, sync_id = data.draw(st.sampled_from(self.recorded)), self.new_sync_id()
        self.sync_ids.append(f"{sync_id}-remove")
        command = c.RequestRestore(sync=sync, sync_position=1, superseded_at=None, sync_id=sync_id)
        self.send(command, report=False)

    @rule(really=RARELY)
    def discard(self, really):
        if really:
            self.send(c.DiscardWorkspace(reason="x"), report=False)

    @rule(offset=OFFSET)
    def remove_canceled(self, offset):
        self.send(c.CancelRemove(generation=self.generation(offset), reason="x"))

    @rule(offset=OFFSET)
    def removed(self, offset):
        self.send(c.RecordRemoved(generation=self.generation(offset)))

    @rule(offset=OFFSET, really=RARELY)
    def lost(self, offset, really):
        if really:
            self.send(c.RecordContainerLost(generation=self.generation(offset), detail="x"))

    @precondition(lambda self: self.reports)
    @rule(data=st.data())
    def an_old_report_again(self, data):
        self.send(data.draw(st.sampled_from(self.reports)))

    def what_comes_next(self, *, down: bool) -> object | None:
        """What the effect that is due reports when all goes well."""
        generation = self.state.generation
        match self.state.lifecycle:
            case Activating():
                return self.next_step(self.state.lifecycle)
            case Stopped(remove=PendingRemove(boot=None)):
                return self.start("maintenance")
            case Running(stop=PendingStop(sync_id=gate)) | Stopped(remove=PendingRemove(sync_id=gate)):
                return c.RecordSynced(generation=generation, sync_id=gate, sync=sync_ref(self.version))
            case Stopping():
                return c.RecordStopped(generation=generation)
            case Removing():
                return c.RecordRemoved(generation=generation)
            case Running() if down and self.state.attached_runs:
                return c.DetachRun(run_id=self.state.attached_runs[0])
            case Running() if down:
                return c.StopSession(reason="user_close", sync_id=self.new_sync_id())
            case Stopped() if down:
                return c.RemoveSession(sync_id=self.new_sync_id())
            case _:
                return None

    def next_step(self, lifecycle: Activating) -> object:
        generation = self.state.generation
        if self.state.container is None:
            container = Container(container_id="c", runtime="process", daemon_id="d")
            return c.RecordContainerCreated(generation=generation, container=container)
        if lifecycle.boot is None:
            return self.start("activation")
        if not self.state.restored:
            sync = self.state.plan.session_sync
            return c.RecordWorkspaceRestored(generation=generation, files=1, bytes=1, sync=sync)
        if not lifecycle.linked:
            return c.RecordAgentDataLinked(generation=generation)
        return c.RecordWorkspaceValidated(generation=generation)

    def start(self, purpose: e.StartPurpose) -> c.RecordContainerStarted:
        self.boots += 1
        boot = Boot(boot_id=f"b{self.boots}", url="http://127.0.0.1:1")
        return c.RecordContainerStarted(generation=self.state.generation, boot=boot, purpose=purpose)

    @precondition(lambda self: self.worker.state)
    @rule(steps=st.integers(min_value=1, max_value=5), down=st.booleans())
    def all_goes_well(self, steps, down):
        """`down`: towards the end of the worker's life; else no further than to where something must be decided."""
        for _ in range(steps):
            command = self.what_comes_next(down=down)
            if command is not None:
                self.send(command)

    @invariant()
    def what_is_pending_is_on_a_running_worker(self):
        if self.worker.state is None:
            return
        if self.state.pending_syncs:
            assert isinstance(self.state.lifecycle, Running)
        if isinstance(self.state.lifecycle, Running):
            assert self.state.restored
            assert self.state.container is not None
            assert not (self.state.attached_runs and self.state.lifecycle.stop)
        if self.state.last_sync_status == "running":
            assert self.state.pending_syncs or isinstance(self.state.lifecycle, Running | Stopped)

    @invariant()
    def a_restore_goes_on_or_has_ended(self):
        if self.worker.state is None or self.state.restoring is None:
            return
        match self.state.lifecycle:
            case Running(stop=pending) | Stopped(remove=pending):
                assert pending is not None, "the restore waits for nothing"
            case lifecycle:
                assert isinstance(lifecycle, Stopping | Removing)

    def teardown(self):
        self.worker.check_history()
        check_log(self.worker.events)


TestAnyOrderOfCommands = AnyOrderOfCommands.TestCase
TestAnyOrderOfCommands.settings = settings(
    max_examples=samples().size(whole=500, sample=120), stateful_step_count=50, deadline=None, derandomize=True
)


@pytest.mark.proof
def test_any_order_of_commands_at_length():
    examples = samples().size(whole=1500, sample=250)
    run_state_machine_as_test(
        seed(samples().number("any order of session commands"))(AnyOrderOfCommands),
        settings=settings(max_examples=examples, stateful_step_count=60, deadline=None, database=None),
    )
