"""The sync gate: a worker is stopped only after a pre.stop sync, removed only after a pre.remove sync."""

import pytest
from msgspec.structs import replace

from domain.errors import Conflict, Fenced, NotFound, RunAttached
from domain.session import commands as c
from domain.session import events as e
from domain.session.decide import MAX_OUTSIDE_RUNS
from tests.support.sessions import (
    ATTACHED,
    BACK_DOWN,
    BUSY,
    DELETED,
    DETACHED,
    FAILED,
    GOING_BACK_DOWN,
    HISTORIES,
    IDLE_STOP_REQUESTED,
    IN_MAINTENANCE,
    NEXT_BOOT,
    REMOVE_PENDING,
    REMOVE_REQUESTED,
    REMOVING,
    REMOVING_NOW,
    RUNNING,
    STARTED,
    STARTING_AGAIN,
    STOP_PENDING,
    STOP_REQUESTED,
    STOPPED,
    STOPPED_NOW,
    STOPPING,
    STOPPING_NOW,
    session,
    started,
    sync_failed,
    sync_ref,
    synced,
)
from tests.support.specification import T0, minutes

CLOSE = c.StopSession(reason="user_close", sync_id="gate")
IDLE = c.StopSession(reason="idle", sync_id="gate", idle_before=T0 + minutes(15))
REMOVE = c.RemoveSession(sync_id="remove-gate")
GATE_PASSED = c.RecordSynced(generation=1, sync_id="gate", sync=sync_ref(1))
REMOVE_GATE_PASSED = c.RecordSynced(generation=1, sync_id="remove-gate", sync=sync_ref(2))


def gate_failed(sync_id, *, final):
    return c.RecordSyncFailed(generation=1, sync_id=sync_id, error="S3 is away", attempt=1, final=final)


class TestAStop:
    def test_syncs_first_then_goes_down(self):
        given = session.given(*RUNNING).when(CLOSE).then(STOP_REQUESTED)
        assert given.state.public_state == "running"
        given = given.when(GATE_PASSED).then(synced("gate", "pre.stop"), STOPPING_NOW)
        given = given.when(c.RecordStopped(generation=1), at=T0 + minutes(1)).then(STOPPED_NOW)
        assert given.state.public_state == "stopped"
        assert given.state.lifecycle.since == T0 + minutes(1)

    def test_is_no_stop_before_its_sync(self):
        session.given(*STOP_PENDING).when(c.RecordStopped(generation=1)).then_nothing()

    def test_is_not_let_through_by_another_sync(self):
        manual = e.SyncRequested(generation=1, sync_id="other", reason="manual")
        given = session.given(*STOP_PENDING, manual)
        given.when(c.RecordSynced(generation=1, sync_id="other", sync=sync_ref(1))).then(synced("other", "manual"))

    def test_nor_by_the_sync_of_an_earlier_stop(self):
        canceled = e.StopCanceled(generation=1, reason="activated")
        again = replace(STOP_REQUESTED, sync_id="gate-2")
        session.given(*STOP_PENDING, canceled, again).when(GATE_PASSED).then_nothing()

    def test_is_tried_again_while_its_sync_fails(self):
        given = (
            session.given(*STOP_PENDING).when(gate_failed("gate", final=False)).then(sync_failed("gate", "pre.stop"))
        )
        assert given.state.last_sync_status == "failed"
        given.when(GATE_PASSED).then(synced("gate", "pre.stop"), STOPPING_NOW)

    def test_is_given_up_at_the_final_failure(self):
        given = (
            session.given(*STOP_PENDING)
            .when(gate_failed("gate", final=True))
            .then(sync_failed("gate", "pre.stop", final=True), e.StopCanceled(generation=1, reason="sync_failed"))
        )
        assert given.state.public_state == "running"
        assert (given.state.last_sync_status, given.state.last_sync_error) == ("failed", "S3 is away")
        given.when(GATE_PASSED).then_nothing()

    def test_canceled_leaves_no_sync_running(self):
        assert session.given(*STOP_PENDING).state.last_sync_status == "running"
        canceled = e.StopCanceled(generation=1, reason="activated")
        assert session.given(*STOP_PENDING, canceled).state.last_sync_status == "idle"
        before = (e.SyncRequested(generation=1, sync_id="m", reason="manual"), synced("m", "manual"))
        assert session.given(*RUNNING, *before, STOP_REQUESTED, canceled).state.last_sync_status == "success"

    @pytest.mark.parametrize(
        "history", [STOP_PENDING, STOPPING, STOPPED, REMOVE_PENDING, REMOVING, DELETED, GOING_BACK_DOWN, FAILED]
    )
    def test_of_what_is_stopped_or_goes_down_succeeds(self, history):
        session.given(*history).when(replace(CLOSE, sync_id="again")).then_nothing()

    @pytest.mark.parametrize("history", [STARTED, STARTING_AGAIN])
    def test_of_what_comes_up_is_refused(self, history):
        session.given(*history).when(CLOSE).then_error(Conflict, reason="activating")

    def test_of_an_unknown_session_is_an_error(self):
        session.given().when(CLOSE).then_error(NotFound)

    def test_recorded_again_changes_nothing(self):
        session.given(*STOPPED).when(c.RecordStopped(generation=1)).then_nothing()


class TestAnIdleStop:
    def test_needs_idleness_at_that_very_moment(self):
        session.given(*RUNNING).given(e.SessionTouched(generation=1), at=T0 + minutes(15)).when(IDLE).then_nothing()
        session.given(*RUNNING).given(e.SessionTouched(generation=1), at=T0 + minutes(14.9)).when(IDLE).then(
            IDLE_STOP_REQUESTED
        )

    @pytest.mark.parametrize("activity", [ATTACHED, DETACHED], ids=["attach", "detach"])
    def test_a_run_is_activity_at_both_its_ends(self, activity):
        assert session.given(*BUSY).given(activity, at=T0 + minutes(7)).state.last_active_at == T0 + minutes(7)

    def test_an_effect_is_no_activity(self):
        at = T0 + minutes(7)
        given = session.given(*RUNNING).given(started(NEXT_BOOT, purpose="revival"), at=at)
        given = given.given(e.SyncRequested(generation=1, sync_id="x", reason="compensation"), at=at)
        assert given.given(synced("x", "compensation"), at=at).state.last_active_at == T0


class TestAnAttachedRun:
    def test_is_appended_before_its_agent_starts(self):
        session.given(*RUNNING).when(c.AttachRun(run_id="r1")).then(ATTACHED)

    def test_attached_again_changes_nothing(self):
        session.given(*BUSY).when(c.AttachRun(run_id="r1")).then_nothing()

    def test_keeps_others_out(self):
        session.given(*BUSY).when(c.AttachRun(run_id="r2")).then_error(Conflict, reason="session_busy", saying="r1")

    def test_cancels_a_pending_stop(self):
        session.given(*STOP_PENDING).when(c.AttachRun(run_id="r1")).then(
            e.StopCanceled(generation=1, reason="run_attached"), ATTACHED
        )

    @pytest.mark.parametrize("name", [name for name in HISTORIES if name not in {"running", "busy", "stop pending"}])
    def test_never_runs_on_a_worker_that_does_not_run(self, name):
        session.given(*HISTORIES[name]).when(c.AttachRun(run_id="r1")).then_error(Conflict, reason="not_running")

    def test_is_not_taken_for_attached_to_the_next_container(self):
        lost = e.ContainerLost(generation=1, detail="gone")
        session.given(*BUSY, lost).when(c.AttachRun(run_id="r1")).then_error(Conflict, reason="not_running")

    @pytest.mark.parametrize("stop", [CLOSE, replace(IDLE, idle_before=T0 + minutes(60))], ids=["close", "idle"])
    def test_lets_nobody_stop_the_worker(self, stop):
        session.given(*BUSY).when(stop).then_error(RunAttached, reason="run_attached", saying="r1")

    def test_lets_it_go_with_its_end(self):
        given = session.given(*BUSY).when(c.DetachRun(run_id="r1")).then(DETACHED)
        given.when(c.DetachRun(run_id="r1")).then_nothing()
        given.when(CLOSE).then(STOP_REQUESTED)

    def test_lets_nobody_remove_the_worker(self):
        session.given(*STOPPED, ATTACHED).when(REMOVE).then_error(RunAttached, reason="run_attached")


class TestAnExternalRun:
    """One that another program executes, bound to the session."""

    ATTACH = c.AttachRun(run_id="o1", outside=True)
    ATTACHED = e.SessionRunAttached(generation=1, attached_run_id="o1", outside=True)

    @pytest.mark.parametrize("name", [name for name in HISTORIES if name != "stop pending"])
    def test_is_attached_whatever_the_worker_does(self, name):
        given = session.given(*HISTORIES[name])
        attached = replace(self.ATTACHED, generation=given.state.generation)
        given.when(self.ATTACH).then(attached).when(self.ATTACH).then_nothing()

    def test_cancels_a_pending_stop_and_lets_nobody_stop_the_worker(self):
        given = (
            session.given(*STOP_PENDING)
            .when(self.ATTACH)
            .then(e.StopCanceled(generation=1, reason="run_attached"), self.ATTACHED)
        )
        for stop in (CLOSE, replace(IDLE, idle_before=T0 + minutes(60))):
            given.when(stop).then_error(RunAttached, reason="run_attached", saying="o1")

    def test_lets_nobody_remove_the_worker(self):
        session.given(*STOPPED, self.ATTACHED).when(REMOVE).then_error(RunAttached, reason="run_attached")

    def test_keeps_no_run_out_and_is_kept_out_by_none(self):
        given = session.given(*RUNNING, self.ATTACHED).when(c.AttachRun(run_id="r1")).then(ATTACHED)
        given.when(c.AttachRun(run_id="r2")).then_error(Conflict, reason="session_busy", saying="r1")
        session.given(*BUSY).when(self.ATTACH).then(self.ATTACHED)

    def test_lets_it_go_with_its_end(self):
        detached = session.given(*RUNNING, self.ATTACHED).when(c.DetachRun(run_id="o1"))
        given = detached.then(e.SessionRunDetached(generation=1, detached_run_id="o1"))
        assert (given.state.attached_runs, given.state.outside_runs) == ((), ())

    def test_is_one_of_a_hundred_at_most(self):
        attached = [replace(self.ATTACHED, attached_run_id=f"o{n}") for n in range(MAX_OUTSIDE_RUNS)]
        session.given(*RUNNING, *attached).when(replace(self.ATTACH, run_id="another")).then_nothing()


class TestARemoval:
    def test_syncs_in_maintenance_first(self):
        given = session.given(*STOPPED).when(REMOVE).then(REMOVE_REQUESTED)
        start = c.RecordContainerStarted(generation=1, boot=NEXT_BOOT, purpose="maintenance")
        given = given.when(start).then(started(NEXT_BOOT, purpose="maintenance", restored=True))
        assert (given.state.public_state, given.state.boot) == ("stopped", NEXT_BOOT)
        given = given.when(REMOVE_GATE_PASSED).then(synced("remove-gate", "pre.remove", 2), REMOVING_NOW)
        given = given.when(c.RecordRemoved(generation=1)).then(e.SessionRemoved(generation=1))
        assert given.state.public_state == "deleted"
        assert given.state.last_sync == sync_ref(2)

    def test_is_no_removal_before_its_sync(self):
        session.given(*IN_MAINTENANCE).when(c.RecordRemoved(generation=1)).then_nothing()

    def test_is_scheduled_only_after_its_time(self):
        scheduled = replace(REMOVE, stopped_before=T0)
        session.given(*STOPPED).when(scheduled).then_nothing()
        session.given(*STOPPED).when(replace(scheduled, stopped_before=T0 + minutes(1))).then(REMOVE_REQUESTED)

    def test_that_fails_for_good_stops_the_container_again(self):
        at = T0 + minutes(60)
        given = (
            session.given(*IN_MAINTENANCE)
            .when(gate_failed("remove-gate", final=True), at=at)
            .then(sync_failed("remove-gate", "pre.remove", final=True), BACK_DOWN)
        )
        assert given.state.public_state == "stopped"
        given = given.when(c.RecordStopped(generation=1), at=at).then(
            e.SessionStopped(generation=1, reason="maintenance")
        )
        assert given.state.lifecycle.since == T0, "it has been stopped all the time"
        given.when(replace(REMOVE, sync_id="next")).then(replace(REMOVE_REQUESTED, sync_id="next"))

    def test_is_tried_again_while_its_sync_fails(self):
        given = session.given(*IN_MAINTENANCE).when(gate_failed("remove-gate", final=False))
        given.then(sync_failed("remove-gate", "pre.remove")).when(REMOVE_GATE_PASSED).then_types(
            e.SessionSynced, e.SessionRemoving
        )

    def test_whose_container_does_not_start_is_called_off(self):
        session.given(*REMOVE_PENDING).when(c.CancelRemove(generation=1, reason="no memory")).then(
            replace(BACK_DOWN, reason="no memory")
        )

    @pytest.mark.parametrize("history", [STOPPED, RUNNING, REMOVING, DELETED])
    def test_called_off_late_changes_nothing(self, history):
        session.given(*history).when(c.CancelRemove(generation=1, reason="late")).then_nothing()

    @pytest.mark.parametrize("history", [RUNNING, BUSY, STOP_PENDING, STARTED, STARTING_AGAIN, STOPPING])
    def test_is_for_stopped_workers_alone(self, history):
        session.given(*history).when(REMOVE).then_error(Conflict, reason="not_stopped")

    @pytest.mark.parametrize("history", [REMOVE_PENDING, IN_MAINTENANCE, GOING_BACK_DOWN, REMOVING, DELETED, FAILED])
    def test_of_what_is_being_removed_or_gone_succeeds(self, history):
        session.given(*history).when(replace(REMOVE, sync_id="again")).then_nothing()

    def test_recorded_again_changes_nothing(self):
        session.given(*DELETED).when(c.RecordRemoved(generation=1)).then_nothing()

    def test_of_a_worker_that_was_never_restored_has_nothing_to_sync(self):
        # No history of today's rules leads here; one of an outside log may.
        never = tuple(event for event in STOPPED if not isinstance(event, e.WorkspaceRestored | e.SessionActivated))
        stopped = session.given(*never[:3], e.ActivationFailed(generation=1, step="restore", error="x"), STOPPED_NOW)
        stopped.when(REMOVE).then(replace(REMOVE_REQUESTED, never_restored=True), REMOVING_NOW)


LIMIT = c.LimitDisk(generation=1, used_bytes=20, limit_bytes=10, sync_id="gate")
EXCEEDED = e.DiskLimitExceeded(generation=1, used_bytes=20, limit_bytes=10, sync_id="gate")
DISK_STOP = replace(STOP_REQUESTED, reason="disk_limit")


class TestAContainerThatHasWrittenTooMuch:
    def test_is_synced_and_stopped_for_it(self):
        given = session.given(*RUNNING).when(LIMIT).then(EXCEEDED, DISK_STOP)
        given = given.when(GATE_PASSED).then(synced("gate", "pre.stop"), replace(STOPPING_NOW, reason="disk_limit"))
        given.when(c.RecordStopped(generation=1)).then(replace(STOPPED_NOW, reason="disk_limit"))

    def test_is_stopped_once_its_run_that_is_to_be_ended_is_detached(self):
        given = session.given(*BUSY).when(LIMIT).then(replace(EXCEEDED, attached_run_id="r1"))
        given.when(LIMIT).then_nothing()
        given = given.when(c.DetachRun(run_id="r1")).then(DETACHED, DISK_STOP)
        assert given.state.disk_stop == ""

    def test_is_stopped_only_once_external_runs_are_detached_too(self):
        outside = e.SessionRunAttached(generation=1, attached_run_id="o1", outside=True)
        given = session.given(*BUSY, outside).when(LIMIT).then(replace(EXCEEDED, attached_run_id="r1"))
        given = given.when(c.DetachRun(run_id="r1")).then(DETACHED)
        given.when(c.DetachRun(run_id="o1")).then(replace(DETACHED, detached_run_id="o1"), DISK_STOP)

    def test_is_looked_at_again_after_its_stop_was_canceled(self):
        failed = session.given(*RUNNING).when(LIMIT).then_types(e.DiskLimitExceeded, e.StopRequested)
        failed = failed.when(gate_failed("gate", final=True)).then_types(e.SessionSyncFailed, e.StopCanceled)
        failed.when(replace(LIMIT, sync_id="gate-2")).then_types(e.DiskLimitExceeded, e.StopRequested)

    def test_is_left_alone_when_it_is_going_down_or_gone(self):
        for history in (STOP_PENDING, STOPPING, STOPPED, DELETED, REMOVING):
            session.given(*history).when(LIMIT).then_nothing()

    def test_is_not_that_of_another_generation(self):
        session.given(*RUNNING).when(replace(LIMIT, generation=2)).then_error(Fenced)
