"""A run that waits is parked: nobody holds it, and whoever claims it next goes on where it stood."""

import pytest

from domain.errors import Fenced
from domain.run import commands as c
from domain.run import events as e
from domain.run.values import WaitsFor
from tests.support.runs import (
    ANSWERING,
    ASKED_BY_AGENT,
    CANCEL_REQUESTED,
    CLAIMED,
    ENDED,
    FINISHED,
    PREPARING,
    QUEUED,
    RETRYING,
    RUN_STARTED,
    RUNNING,
    WAITING,
    claimed,
    error,
    run,
)
from tests.support.specification import T0, minutes

UNTIL = T0 + minutes(60)
ASKED_TOO = e.HumanLoopRequested(lease_generation=1, question_id="q2")
TIMED_OUT = e.RunTimedOut(lease_generation=1, what="run", limit_ms=1)


def park(waits_for: WaitsFor, lease: int = 1) -> c.ParkRun:
    return c.ParkRun(lease_generation=lease, waits_for=waits_for, until=UNTIL)


def parked(waits_for: WaitsFor) -> e.RunParked:
    return e.RunParked(lease_generation=1, waits_for=waits_for, until=UNTIL)


@pytest.mark.parametrize(
    ("history", "waits_for"),
    [(WAITING, "person"), (CLAIMED, "place"), (PREPARING, "place"), (PREPARING, "session")],
    ids=["person", "place", "place later", "session"],
)
def test_a_run_that_waits_is_parked_and_looks_as_before(history, waits_for):
    before = run.given(*history).state
    given = run.given(*history).when(park(waits_for)).then(parked(waits_for))
    assert given.state.public_state == before.public_state
    given.when(park(waits_for)).then_error(Fenced, saying="nobody holds it")


@pytest.mark.parametrize(
    ("history", "waits_for"),
    [
        pytest.param(RUNNING, "person", id="no question"),
        pytest.param(ANSWERING, "person", id="its answer is on the way"),
        pytest.param((*ANSWERING, ASKED_TOO), "person", id="one of two is answered"),
        pytest.param((*WAITING, CANCEL_REQUESTED), "person", id="canceled"),
        pytest.param((*WAITING, TIMED_OUT), "person", id="timed out"),
        pytest.param(WAITING, "place", id="it has its place"),
        pytest.param(PREPARING, "person", id="no agent yet"),
        pytest.param((*PREPARING, CANCEL_REQUESTED), "session", id="canceled before its start"),
        pytest.param(ENDED, "person", id="ended"),
    ],
)
def test_a_run_that_does_not_wait_for_that_any_more_is_not_parked(history, waits_for):
    run.given(*history).when(park(waits_for)).then_nothing()


@pytest.mark.parametrize("history", [QUEUED, RETRYING, FINISHED], ids=["queued", "waits for its retry", "finished"])
def test_what_nobody_holds_is_not_parked(history):
    lease = run.given(*history).state.lease_generation
    if lease:
        run.given(*history).when(park("session", lease)).then_nothing()
    else:
        run.given(*history).when(park("session", 1)).then_error(Fenced)


@pytest.mark.parametrize(
    ("history", "waits_for", "state"),
    [(WAITING, "person", "waiting_human"), (PREPARING, "place", "preparing"), (PREPARING, "session", "preparing")],
    ids=["person", "place", "session"],
)
def test_the_claim_of_a_parked_run_is_no_new_attempt(history, waits_for, state):
    again = e.RunClaimed(lease_generation=2, owner="w1", attempt=1, resumed=True, was_parked=waits_for)
    given = run.given(*history, parked(waits_for)).when(c.ClaimRun(lease_generation=2, owner="w1")).then(again)
    assert (given.state.public_state, given.state.attempt) == (state, 1)
    assert given.state.stage == run.given(*history).state.stage


def test_a_worker_that_dies_after_it_has_taken_up_a_parked_run_costs_an_attempt_as_any_other():
    again = e.RunClaimed(lease_generation=2, owner="w1", attempt=1, resumed=True, was_parked="place")
    given = run.given(*PREPARING, parked("place"), again)
    given.when(c.ClaimRun(lease_generation=3, owner="w1")).then(claimed(3, attempt=2))


def test_a_parked_run_keeps_its_agent_and_the_journal_s_cursor():
    given = run.given(*PREPARING, RUN_STARTED).given(ASKED_BY_AGENT, event_id="r1/1/b1/1")
    given = given.given(parked("person"), claimed(2, resumed=True))
    assert (given.state.entries, given.state.stage.boot_id) == (1, "b1")


def test_whoever_parked_it_is_fenced_once_it_is_claimed_again():
    given = run.given(*WAITING, parked("person"), claimed(2, resumed=True))
    given.when(park("person")).then_error(Fenced)


@pytest.mark.parametrize(
    "command",
    [
        c.EnterPhase(lease_generation=1, phase="preparing"),
        c.StartAgent(lease_generation=1, generation=1, boot_id="b1"),
        c.RecordJournalEntry(lease_generation=1, attempt=1, n=1, event=e.MessageStopped()),
        c.FailAttempt(lease_generation=1, error=error("network"), retry_at=UNTIL),
        c.TimeOutRun(lease_generation=1, what="run", limit_ms=1),
    ],
    ids=lambda command: type(command).__name__,
)
@pytest.mark.parametrize(("history", "waits_for"), [(WAITING, "person"), (CLAIMED, "place")], ids=["person", "place"])
def test_whoever_parked_it_has_let_go_of_it(history, waits_for, command):
    run.given(*history, parked(waits_for)).when(command).then_error(Fenced, saying="nobody holds it")
