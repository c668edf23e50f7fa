"""A session's workspace goes back in time: only after the gates of its worker, and by the log alone."""

import pytest

from domain.errors import Conflict, InvalidInput, RunAttached
from domain.session import commands as c
from domain.session import events as e
from domain.session.collection import SyncNotKept
from domain.workspace.sync import SyncRef
from tests.support.sessions import (
    ACTIVATE,
    ATTACHED,
    BUSY,
    DELETED,
    HISTORIES,
    LOST,
    RUNNING,
    STOPPED,
    activation,
    session,
    sync_ref,
    synced,
)
from tests.support.specification import T0, minutes

RESTORE = c.RequestRestore(sync=sync_ref(1), sync_position=17, superseded_at=T0, sync_id="gate")
REWOUND = e.WorkspaceRewound(sync=sync_ref(1), sync_position=17)
STOP = e.StopRequested(generation=1, reason="restore", sync_id="gate")
REMOVE = e.RemoveRequested(generation=1, sync_id="gate-remove")
STOPPING = e.SessionStopping(generation=1, reason="restore")
STOPPED_FOR_IT = e.SessionStopped(generation=1, reason="restore")
REMOVING, REMOVED = e.SessionRemoving(generation=1), e.SessionRemoved(generation=1)


def requested(*, reactivate=False):
    return e.RestoreRequested(
        generation=1, sync=sync_ref(1), sync_position=17, remove_sync_id="gate-remove", reactivate=reactivate
    )


def gate(number, sync_id, reason):
    return synced(sync_id, reason, number)


GOING_DOWN = (*RUNNING, requested(reactivate=True), STOP)
DOWN = (*GOING_DOWN, gate(5, "gate", "pre.stop"), STOPPING)
BEING_REMOVED = (*DOWN, STOPPED_FOR_IT, REMOVE)


def test_without_a_container_it_is_done_at_once_and_the_next_one_restores_it():
    session.given(*DELETED).when(RESTORE).then(requested(), REWOUND)
    session.given(*DELETED, requested(), REWOUND).when(ACTIVATE).then(
        activation("create", generation=2, last_sync=sync_ref(1))
    )


def test_what_is_the_workspace_already_changes_nothing():
    session.given(*DELETED, requested(), REWOUND).when(RESTORE).then_nothing()


def test_a_running_worker_is_synced_stopped_synced_removed_and_runs_again_with_the_other_sync():
    recorded = c.RecordSynced(generation=1, sync_id="gate", sync=sync_ref(5))
    at_removal = c.RecordSynced(generation=1, sync_id="gate-remove", sync=sync_ref(6))

    session.given(*RUNNING).when(RESTORE).then(requested(reactivate=True), STOP)
    session.given(*GOING_DOWN).when(recorded).then_types(e.SessionSynced, e.SessionStopping)
    session.given(*DOWN).when(c.RecordStopped(generation=1)).then(STOPPED_FOR_IT, REMOVE)
    session.given(*BEING_REMOVED).when(at_removal).then_types(e.SessionSynced, e.SessionRemoving)
    session.given(*BEING_REMOVED, gate(6, "gate-remove", "pre.remove"), REMOVING).when(
        c.RecordRemoved(generation=1)
    ).then(REMOVED, REWOUND, activation("create", generation=2, last_sync=sync_ref(1)))


def test_a_stopped_worker_is_removed_and_stays_so():
    session.given(*STOPPED).when(RESTORE).then(requested(), REMOVE)
    session.given(*STOPPED, requested(), REMOVE, gate(6, "gate-remove", "pre.remove"), REMOVING).when(
        c.RecordRemoved(generation=1)
    ).then(REMOVED, REWOUND)


def test_a_container_that_is_lost_on_the_way_does_not_stop_it():
    lost = c.RecordContainerLost(generation=1, detail="gone")
    session.given(*BEING_REMOVED).when(lost).then_types(e.ContainerLost, e.WorkspaceRewound, e.ActivationRequested)


def test_asking_twice_is_asking_once_and_two_at_a_time_are_refused():
    session.given(*GOING_DOWN).when(RESTORE).then_nothing()
    other = c.RequestRestore(sync=sync_ref(2), sync_position=18, superseded_at=T0, sync_id="other")
    session.given(*GOING_DOWN).when(other).then_error(Conflict, reason="restore_under_way")


@pytest.mark.parametrize("history", [GOING_DOWN, BEING_REMOVED], ids=["stop pending", "removal pending"])
def test_a_message_in_between_wins(history):
    events = session.given(*history).when(ACTIVATE)
    types = (
        (e.StopCanceled, e.SessionTouched, e.RestoreCanceled)
        if history is GOING_DOWN
        else (e.RemoveCanceled, e.ReactivationRequested, e.RestoreCanceled)
    )
    events.then_types(*types)


def test_a_message_to_a_worker_on_its_way_down_wins():
    waiting = e.ReactivationRequested(generation=1)
    session.given(*DOWN, waiting).when(c.RecordStopped(generation=1)).then_types(
        e.SessionStopped, e.ActivationRequested, e.RestoreCanceled
    )


def test_a_message_to_a_worker_that_is_being_removed_gets_the_restored_workspace():
    history = (*BEING_REMOVED, gate(6, "gate-remove", "pre.remove"), REMOVING, e.ReactivationRequested(generation=1))
    session.given(*history).when(c.RecordRemoved(generation=1)).then(
        REMOVED, REWOUND, activation("create", generation=2, last_sync=sync_ref(1))
    )


def test_a_gate_sync_that_fails_for_good_cancels_it():
    failed = c.RecordSyncFailed(generation=1, sync_id="gate", error="full", attempt=5, final=True)
    session.given(*GOING_DOWN).when(failed).then_types(e.SessionSyncFailed, e.StopCanceled, e.RestoreCanceled)


@pytest.mark.parametrize("history", [BUSY, (*RUNNING, ATTACHED, LOST)], ids=["busy", "busy, then lost"])
def test_not_while_a_run_is_attached(history):
    session.given(*history).when(RESTORE).then_error(RunAttached)


@pytest.mark.parametrize(
    "name", sorted(name for name in HISTORIES if session.given(*HISTORIES[name]).state.activation_pending)
)
def test_not_while_the_worker_is_being_activated(name):
    session.given(*HISTORIES[name]).when(RESTORE).then_error(Conflict, reason="activating")


def test_not_to_another_sessions_sync():
    other = SyncRef(manifest_key="app/other/manifests/1-1-x.json", manifest_hash="0" * 64)
    command = c.RequestRestore(sync=other, sync_position=17, superseded_at=None, sync_id="gate")
    session.given(*DELETED).when(command).then_error(InvalidInput)


def test_not_to_a_sync_that_is_no_longer_kept():
    collected = e.CollectionRequested(collection_id="c", kept_since=T0 + minutes(1))
    session.given(*DELETED, collected).when(RESTORE).then_error(SyncNotKept)
