"""An operator gives up a workspace that can't be synced: the one exception from the sync gate, and it is on record."""

import pytest
from msgspec.structs import replace

from domain.errors import Conflict, RunAttached
from domain.session import commands as c
from domain.session import events as e
from domain.session.state import Deleted, Removing
from tests.support.sessions import (
    ACTIVATE,
    ACTIVATING,
    BUSY,
    DELETED,
    REMOVE_PENDING,
    REMOVING,
    RUNNING,
    STOP_PENDING,
    STOPPED,
    STOPPING,
    session,
    sync_failed,
    sync_ref,
    synced,
)

DISCARD = c.DiscardWorkspace(reason="200,000 files")
DISCARDED = e.WorkspaceDiscarded(generation=1, reason="200,000 files")
REMOVING_NOW = e.SessionRemoving(generation=1)
WAITING = e.SyncRequested(generation=1, sync_id="one", reason="message.stop", for_run_id="r1")


@pytest.mark.parametrize(
    ("history", "gate"),
    [(RUNNING, ()), (STOP_PENDING, (e.StopCanceled,)), (STOPPED, ()), (REMOVE_PENDING, (e.RemoveCanceled,))],
    ids=["running", "stop pending", "stopped", "remove pending"],
)
def test_the_container_is_removed_without_a_sync(history, gate):
    given = session.given(*history).when(DISCARD).then_types(*gate, e.WorkspaceDiscarded, e.SessionRemoving)
    assert isinstance(given.state.lifecycle, Removing)
    assert given.state.last_sync_status != "running"
    given = given.when(c.RecordRemoved(generation=1)).then(e.SessionRemoved(generation=1))
    assert isinstance(given.state.lifecycle, Deleted)


def test_what_is_kept_and_why_the_rest_was_lost_is_on_record():
    recorded, refused = synced("s", "manual", 7), sync_failed("t", "manual", final=True, error="too many files")
    discarded = session.given(*RUNNING, recorded, refused).when(DISCARD).events[0]
    assert (discarded.last_sync, discarded.last_sync_error) == (sync_ref(7), "too many files")


def test_the_next_worker_begins_with_the_last_recorded_sync():
    removed = e.SessionRemoved(generation=1)
    given = session.given(*RUNNING, synced("s", "manual", 7), DISCARDED, REMOVING_NOW, removed)
    (activation,) = given.when(ACTIVATE).events
    assert (activation.generation, activation.kind, activation.plan.session_sync) == (2, "create", sync_ref(7))


def test_nobody_waits_for_its_syncs_any_more():
    outcome = session.given(*RUNNING, WAITING).when(DISCARD)
    failed, _, _ = outcome.events
    assert (failed.sync_id, failed.final, failed.for_run_id) == ("one", True, "r1")
    late = c.RecordSynced(generation=1, sync_id="one", sync=sync_ref(9))
    outcome.then(*outcome.events).when(late).then_nothing()


def test_a_message_that_comes_meanwhile_is_answered_by_the_next_worker():
    given = session.given(*RUNNING, DISCARDED, REMOVING_NOW)
    given = given.when(ACTIVATE).then_types(e.ReactivationRequested)
    given.when(c.RecordRemoved(generation=1)).then_types(e.SessionRemoved, e.ActivationRequested)


def test_an_attached_run_forbids_it():
    session.given(*BUSY).when(DISCARD).then_error(RunAttached)


@pytest.mark.parametrize(("history", "reason"), [(ACTIVATING, "activating"), (STOPPING, "stopping")])
def test_a_worker_on_its_way_up_or_down_gets_there_first(history, reason):
    session.given(*history).when(DISCARD).then_error(Conflict, reason=reason)


@pytest.mark.parametrize("history", [REMOVING, DELETED])
def test_there_is_nothing_left_to_discard(history):
    session.given(*history).when(replace(DISCARD, reason="again")).then_nothing()
