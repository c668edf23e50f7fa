"""The very daemon that made a container says that there is none of its id."""

import pytest
from msgspec.structs import replace

from domain.session import commands as c
from domain.session import events as e
from tests.support.sessions import (
    ACTIVATE,
    ACTIVATING,
    BUSY,
    DELETED,
    FAILED,
    GOING_BACK_DOWN,
    IN_MAINTENANCE,
    LOST,
    REMOVE_PENDING,
    REMOVING,
    RUNNING,
    STARTED,
    STARTING_AGAIN,
    STOP_PENDING,
    STOPPED,
    STOPPING,
    activation,
    session,
    sync_failed,
    sync_ref,
)

GONE = c.RecordContainerLost(generation=1, detail="no such container")
REACTIVATION = e.ReactivationRequested(generation=1)


@pytest.mark.parametrize("history", [RUNNING, BUSY, STOP_PENDING], ids=["running", "busy", "stop pending"])
def test_a_running_worker_may_lose_unsynced_work(history):
    given = session.given(*history).when(GONE).then(replace(LOST, unsynced=True))
    assert given.state.public_state == "deleted"


@pytest.mark.parametrize("history", [STOPPING, STOPPED, REMOVE_PENDING, IN_MAINTENANCE, GOING_BACK_DOWN, REMOVING])
def test_behind_the_gate_nothing_is_lost(history):
    given = session.given(*history).when(GONE).then(LOST)
    assert given.state.public_state == "deleted"


def test_a_message_then_makes_a_new_one_from_the_last_sync():
    session.given(*STOPPED, LOST).when(ACTIVATE).then(activation(generation=2, last_sync=sync_ref(1)))


@pytest.mark.parametrize(("history", "number"), [(STOPPING, 1), (GOING_BACK_DOWN, 1), (REMOVING, 2)])
def test_a_message_that_waits_is_not_dropped(history, number):
    session.given(*history, REACTIVATION).when(GONE).then(LOST, activation(generation=2, last_sync=sync_ref(number)))


def test_a_worker_that_was_being_started_is_made_anew():
    session.given(*STARTING_AGAIN).when(GONE).then(LOST, activation(generation=2, last_sync=sync_ref(1)))


def test_a_worker_that_was_being_made_has_failed():
    given = (
        session.given(*STARTED)
        .when(GONE)
        .then(
            e.ActivationFailed(
                generation=1, step="start", error="the container is gone: no such container", discard=True
            ),
            LOST,
        )
    )
    assert given.state.public_state == "deleted"
    assert given.state.last_error == "start: the container is gone: no such container"


@pytest.mark.parametrize("history", [ACTIVATING, DELETED, (*STOPPED, LOST)], ids=["none yet", "removed", "lost"])
def test_where_there_is_no_container_nothing_is_lost(history):
    session.given(*history).when(GONE).then_nothing()


def test_a_discarded_container_may_be_gone_by_itself():
    session.given(*FAILED).when(GONE).then(LOST)


def test_whoever_waits_for_a_sync_hears_of_it():
    requested = e.SyncRequested(generation=1, sync_id="one", reason="manual")
    failed = sync_failed("one", "manual", attempt=0, final=True, error="the container is gone: no such container")
    session.given(*RUNNING, requested).when(GONE).then(failed, replace(LOST, unsynced=True))


def test_a_late_result_of_the_lost_container_changes_nothing():
    given = session.given(*STOP_PENDING).when(GONE).then_types(e.ContainerLost)
    given.when(c.RecordSynced(generation=1, sync_id="gate", sync=sync_ref(1))).then_nothing()
    given.when(c.RecordStopped(generation=1)).then_nothing()
    given.when(c.RecordRemoved(generation=1)).then_nothing()
