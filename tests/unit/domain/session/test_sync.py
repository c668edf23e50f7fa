"""Syncs of a running worker: each that is asked for is answered once, and none brings an older content back."""

import pytest
from msgspec.structs import replace

from domain.errors import Conflict, InvalidInput
from domain.session import commands as c
from domain.session import events as e
from domain.session.decide import MAX_PENDING_SYNCS
from tests.support.sessions import (
    DELETED,
    IDLE_STOP_REQUESTED,
    RUNNING,
    STOP_PENDING,
    STOPPED,
    STOPPING,
    STOPPING_NOW,
    session,
    sync_failed,
    sync_ref,
    synced,
)
from tests.support.specification import T0, minutes

FIRST = e.SyncRequested(generation=1, sync_id="one", reason="message.stop", for_run_id="r1")
SECOND = e.SyncRequested(generation=1, sync_id="two", reason="run.finished", for_run_id="r1")


def done(sync_id, number=1):
    return c.RecordSynced(generation=1, sync_id=sync_id, sync=sync_ref(number))


def test_a_sync_is_asked_for_and_recorded():
    given = session.given(*RUNNING)
    given = given.when(c.RequestSync(sync_id="one", reason="message.stop", run_id="r1")).then(FIRST)
    assert given.state.last_sync_status == "running"
    given = given.when(done("one"), at=T0 + minutes(1)).then(synced("one", "message.stop", run_id="r1"))
    assert given.state.last_sync_status == "success"
    assert given.state.last_sync == sync_ref(1)
    assert given.state.last_sync_at == T0 + minutes(1)


def test_a_repeated_request_changes_nothing():
    session.given(*RUNNING, FIRST).when(c.RequestSync(sync_id="one", reason="message.stop")).then_nothing()


@pytest.mark.parametrize("reason", ["pre.stop", "pre.remove"])
def test_only_a_stop_or_a_remove_asks_for_a_gate_sync(reason):
    session.given(*RUNNING).when(c.RequestSync(sync_id="one", reason=reason)).then_error(InvalidInput, field="reason")


@pytest.mark.parametrize("history", [STOPPED, STOPPING, DELETED], ids=["stopped", "stopping", "deleted"])
def test_a_worker_that_is_not_running_has_nothing_to_sync(history):
    session.given(*history).when(c.RequestSync(sync_id="x", reason="manual")).then_error(Conflict, reason="not_running")
    session.given(*history).when(c.RequestSync(sync_id="x", reason="message.stop")).then_nothing()


def test_a_failed_sync_leaves_the_worker_as_it_was_and_is_tried_again():
    given = session.given(*RUNNING, FIRST)
    failure = c.RecordSyncFailed(generation=1, sync_id="one", error="S3 is away", attempt=1, final=False)
    given = given.when(failure).then(replace(sync_failed("one", "message.stop"), for_run_id="r1"))
    assert (given.state.last_sync_status, given.state.last_sync_error) == ("failed", "S3 is away")
    assert given.state.public_state == "running"
    given = given.when(done("one")).then(synced("one", "message.stop", run_id="r1"))
    assert (given.state.last_sync_status, given.state.last_sync_error) == ("success", "")


def test_after_its_final_failure_it_is_no_longer_wanted():
    failed = sync_failed("one", "message.stop", attempt=5, final=True)
    session.given(*RUNNING, FIRST, failed).when(done("one")).then_nothing()


def test_a_repeated_result_changes_nothing():
    session.given(*RUNNING, FIRST, synced("one", "message.stop")).when(done("one")).then_nothing()


def test_a_result_nobody_asked_for_changes_nothing():
    session.given(*RUNNING).when(done("unknown")).then_nothing()


class TestALaterSync:
    """It holds all that an earlier one would have: whoever waits for that one is answered as well."""

    def test_answers_the_earlier_requests_too(self):
        session.given(*RUNNING, FIRST, SECOND).when(done("two", 2)).then(
            synced("two", "run.finished", 2, run_id="r1"),
            synced("one", "message.stop", 2, unchanged=True, run_id="r1"),
        )

    def test_is_not_replaced_by_the_late_result_of_an_earlier_one(self):
        given = session.given(*RUNNING, FIRST, SECOND).when(done("two", 2)).then_types(e.SessionSynced, e.SessionSynced)
        given = given.when(done("one", 1)).then_nothing()
        assert given.state.last_sync == sync_ref(2)

    def test_is_still_wanted_after_an_earlier_one(self):
        given = session.given(*RUNNING, FIRST, SECOND).when(done("one", 1)).then_types(e.SessionSynced)
        given.when(done("two", 2)).then_types(e.SessionSynced)

    def test_of_a_gate_answers_all_that_are_open(self):
        session.given(*STOP_PENDING, FIRST).when(done("gate", 2)).then(
            synced("gate", "pre.stop", 2), synced("one", "message.stop", 2, unchanged=True, run_id="r1"), STOPPING_NOW
        )


class TestIdleness:
    def test_a_message_of_the_agent_is_activity(self):
        given = session.given(*RUNNING).given(FIRST, at=T0 + minutes(5))
        assert given.state.last_active_at == T0 + minutes(5)

    @pytest.mark.parametrize("reason", ["compensation", "manual", "run.finished"])
    def test_any_other_sync_is_none(self, reason):
        given = session.given(*RUNNING).given(replace(FIRST, reason=reason), at=T0 + minutes(5))
        assert given.state.last_active_at == T0

    def test_an_idle_stop_gives_way_to_activity(self):
        session.given(*RUNNING, IDLE_STOP_REQUESTED).when(
            c.RequestSync(sync_id="one", reason="message.stop", run_id="r1")
        ).then(e.StopCanceled(generation=1, reason="not_idle"), FIRST)

    def test_a_user_s_close_does_not(self):
        session.given(*STOP_PENDING).when(c.RequestSync(sync_id="one", reason="message.stop", run_id="r1")).then(FIRST)


def test_syncs_that_wait_are_bounded():
    """The last of many that wait has not begun, so it holds what a further one would hold."""
    waiting = [replace(FIRST, sync_id=f"{number}") for number in range(MAX_PENDING_SYNCS)]
    session.given(*RUNNING, *waiting).when(c.RequestSync(sync_id="x", reason="message.stop")).then_nothing()
    final = c.RequestSync(sync_id="final", reason="run.finished", run_id="r1")
    session.given(*RUNNING, *waiting).when(final).then_types(e.SyncRequested)
    by_hand = [replace(sync, reason="manual") for sync in waiting]
    wanted = c.RequestSync(sync_id="x", reason="manual")
    session.given(*RUNNING, *by_hand).when(wanted).then_error(Conflict, reason="too_many_syncs")
