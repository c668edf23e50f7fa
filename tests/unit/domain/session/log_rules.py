"""The rules of a session's log, read off its events alone: written without the domain's own state, to judge it."""

from collections.abc import Sequence

from domain.event import Event
from domain.session import events as e


class Reader:
    """Reads one event after the other; AssertionError where one breaks a rule of a session's stream."""

    def __init__(self) -> None:
        self.generation = 0
        self.container_is_gone = True
        self.restored = self.was_active = self.up = False
        self.attached: set[str] = set()
        self.outside: set[str] = set()
        self.stop_gate = self.remove_gate = ""
        self.passed = ""
        self.may_stop = self.may_remove = self.may_discard = False
        self.given_up = False
        self.synced: set[str] = set()
        self.last_sync: object = None

    def read(self, event: Event) -> None:
        generation = getattr(event, "generation", None)
        if isinstance(event, e.WorkspaceRewound):
            assert self.container_is_gone, "the workspace goes back in time while there is a container"
            self.last_sync = event.sync
            return
        if not isinstance(event, e.ActivationRequested):
            assert generation == self.generation, f"{event} is not of the one present generation"
        match event:
            case e.ActivationRequested():
                self.activation_requested(event)
            case e.WorkspaceRestored(sync=sync):
                assert not self.restored, "restored twice"
                assert sync == self.last_sync, "restored something else than the last recorded sync"
                self.restored = True
            case e.SessionActivated():
                assert self.restored, "activated without a restore"
                self.was_active = self.up = True
            case e.ActivationFailed(discard=discard):
                assert not (discard and self.was_active), "a container that an agent may have written to is discarded"
                self.up, self.may_discard, self.may_stop = False, discard, not discard
            case e.SessionRunAttached(attached_run_id=run_id, outside=outside):
                assert outside or self.up, "attached to a worker that does not run"
                assert outside or self.attached == self.outside, "two runs at a time"
                assert not self.stop_gate, "attached while a stop is pending"
                self.attached.add(run_id)
                if outside:
                    self.outside.add(run_id)
                if self.up:
                    self.passed = ""
            case e.SessionRunDetached(detached_run_id=run_id):
                self.attached.remove(run_id)
                self.outside.discard(run_id)
            case e.ContainerLost():
                self.gone()
            case _:
                self.read_gate(event)

    def activation_requested(self, event: e.ActivationRequested) -> None:
        if event.kind == "create":
            assert self.container_is_gone, "a second container beside the first"
            assert event.generation == self.generation + 1
            self.container_is_gone = self.restored = self.was_active = False
        else:
            assert event.generation == self.generation
            assert not self.container_is_gone
        assert event.plan.session_sync == self.last_sync, "not the last recorded sync"
        self.generation = event.generation
        self.may_stop = self.may_remove = self.may_discard = False

    def read_gate(self, event: Event) -> None:
        match event:
            case e.StopRequested(sync_id=gate):
                assert not self.attached, "a stop while a run is attached"
                self.stop_gate, self.passed = gate, ""
            case e.StopCanceled():
                self.stop_gate = self.passed = ""
            case e.RemoveRequested(sync_id=gate, never_restored=never):
                assert not self.attached, "a removal while a run is attached"
                assert not (never and self.restored), "restored, so there is something to sync"
                self.remove_gate, self.passed = gate, gate if never else ""
            case e.RemoveCanceled():
                self.remove_gate = self.passed = ""
                self.may_stop = True
            case e.SyncRequested(reason=reason):
                assert self.up, "a sync of a worker that does not run"
                assert not reason.startswith("pre."), "a gate sync without its gate"
                self.passed = ""
            case e.SessionSynced():
                self.sync_recorded(event)
            case e.SessionStopping():
                assert self.stop_gate, "stopping without a stop"
                assert self.passed == self.stop_gate, "stopping without its own gate sync"
                self.stop_gate, self.up, self.may_stop = "", False, True
            case e.SessionStopped():
                assert self.may_stop
                self.may_stop = False
            case e.WorkspaceDiscarded(reason=reason):
                assert reason, "a workspace is given up, and nobody knows why"
                assert not self.attached, "a workspace is given up while a run is attached"
                self.given_up = True
            case e.SessionRemoving() if self.given_up:
                self.stop_gate = self.remove_gate = self.passed = ""
                self.up, self.may_remove = False, True
            case e.SessionRemoving():
                assert self.remove_gate, "removing without a removal"
                assert self.passed == self.remove_gate, "removing without its own gate sync"
                self.remove_gate, self.may_remove = "", True
            case e.SessionRemoved(discarded=discarded):
                assert self.may_discard if discarded else self.may_remove
                self.gone()

    def sync_recorded(self, event: e.SessionSynced) -> None:
        assert event.sync_id not in self.synced, "answered twice"
        self.synced.add(event.sync_id)
        self.last_sync = event.sync
        if event.reason.startswith("pre."):
            assert event.sync_id in {self.stop_gate, self.remove_gate}, "a gate sync that no gate waits for"
            self.passed = event.sync_id

    def gone(self) -> None:
        self.container_is_gone = True
        self.up = self.may_stop = self.may_remove = self.may_discard = self.given_up = False
        self.stop_gate = self.remove_gate = self.passed = ""


def check_log(events: Sequence[Event]) -> None:
    """Raises AssertionError where a log breaks a rule of a session's stream (docs/explanation/sync-gate.md)."""
    reader = Reader()
    for event in events:
        reader.read(event)
