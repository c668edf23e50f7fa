"""A run is queued once, by one body; what its provider can't do blocks it or is warned of."""

import pytest
from msgspec.structs import replace

from domain.errors import IdentityConflict, NotFound
from domain.run import commands as c
from domain.run import events as e
from domain.run.capabilities import Capabilities, blocked_reason, degradations
from domain.run.values import RunSpec
from tests.support.runs import (
    BOUND,
    EXPORTED_TO,
    HISTORIES,
    QUEUE,
    QUEUED_NOW,
    RETRY_AT,
    SCRIPTED,
    SPEC,
    error,
    run,
)

HUMAN = replace(SPEC, require_human_loop=True)
ABLE = replace(SCRIPTED, provider="able", resume=True, human_loop=True, execution_profiles=("plan",))


def queue(spec: RunSpec, capabilities: Capabilities = SCRIPTED) -> c.QueueRun:
    return c.QueueRun(spec=spec, capabilities=capabilities)


def test_an_unknown_run_is_queued():
    given = run.given().when(QUEUE).then(QUEUED_NOW)
    assert given.state.public_state == "queued"


STARTED_HERE = {name: events for name, events in HISTORIES.items() if name != "bound"}


@pytest.mark.parametrize("history", STARTED_HERE.values(), ids=STARTED_HERE.keys())
def test_the_same_body_attaches_in_every_state(history):
    run.given(*history).when(QUEUE).then_nothing()


@pytest.mark.parametrize("history", HISTORIES.values(), ids=HISTORIES.keys())
@pytest.mark.parametrize("change", [{"model": "m"}, {"session_id": "s2"}, {"messages": ()}, {"max_attempts": 9}])
def test_another_body_is_a_conflict_in_every_state(history, change):
    run.given(*history).when(queue(replace(SPEC, **change))).then_error(IdentityConflict, reason="identity_conflict")


def test_a_missing_human_loop_blocks_a_run_that_requires_it():
    outcome = run.given().when(queue(HUMAN))
    given = outcome.then_types(e.RunBlocked)
    assert given.state.public_state == "blocked"
    assert outcome.events[0].capability == "humanLoop"
    assert "set providerOptions.interactive to true" in outcome.events[0].reason


def test_with_a_human_loop_it_is_queued():
    run.given().when(queue(HUMAN, ABLE)).then(e.RunQueued(spec=HUMAN))


def test_a_missing_resume_starts_a_new_conversation_with_a_warning():
    outcome = run.given().when(queue(replace(SPEC, resume_session_id="old")))
    outcome.then_types(e.RunQueued, e.RunWarning)
    assert outcome.events[1].warning.code == "resume_unsupported"
    assert "'old'" in outcome.events[1].warning.message


def test_an_unknown_profile_means_the_default_with_a_warning():
    outcome = run.given().when(queue(replace(SPEC, execution_profile="yolo")))
    outcome.then_types(e.RunQueued, e.RunWarning)
    assert outcome.events[1].warning.code == "unknown_execution_profile"
    assert "'yolo'" in outcome.events[1].warning.message


def test_a_blocked_run_is_warned_of_the_rest_too():
    run.given().when(queue(replace(HUMAN, resume_session_id="old"))).then_types(e.RunBlocked, e.RunWarning)


class TestCapabilities:
    def test_that_suffice_block_and_degrade_nothing(self):
        spec = replace(HUMAN, resume_session_id="old", execution_profile="plan")
        assert blocked_reason(spec, ABLE) == ""
        assert degradations(spec, ABLE) == ()

    def test_that_do_not_suffice_point_to_other_providers(self):
        reason = blocked_reason(HUMAN, Capabilities(provider="other"))
        assert "other has none: choose a provider with humanLoop (GET /api/providers)" in reason


class TestAnExternalRun:
    def test_is_tied_to_a_session(self):
        given = run.given().when(c.BindRun(session_id="s1")).then(*BOUND)
        assert given.state.is_external
        assert given.state.public_state == "running"

    def test_once(self):
        run.given(*BOUND).when(c.BindRun(session_id="s1")).then_nothing()
        run.given(*BOUND).when(c.BindRun(session_id="s2")).then_error(IdentityConflict, saying="'s1'")

    @pytest.mark.parametrize("history", STARTED_HERE.values(), ids=STARTED_HERE.keys())
    def test_a_run_of_our_own_has_its_session_already(self, history):
        run.given(*history).when(c.BindRun(session_id="s1")).then_nothing()
        run.given(*history).when(c.BindRun(session_id="s2")).then_error(IdentityConflict)


@pytest.mark.parametrize(
    "command",
    [
        c.ClaimRun(lease_generation=1, owner="w"),
        c.EnterPhase(lease_generation=1, phase="linking"),
        c.StartAgent(lease_generation=1, generation=1, boot_id="b"),
        c.RecordJournalEntry(lease_generation=1, attempt=1, n=1, event=e.MessageStopped()),
        c.RecordCallback(event=e.MessageStopped()),
        c.FailAttempt(lease_generation=1, error=error("network"), retry_at=RETRY_AT),
        c.BeginFinalSync(lease_generation=1, sync_id="x"),
        c.RecordExported(lease_generation=1, sync=EXPORTED_TO),
        c.FinishRun(lease_generation=1, retry_at=RETRY_AT),
        c.CancelRun(),
        c.ReplyToQuestion(question_id="q1", answer="x"),
        c.RecordLeaseLost(lost_lease_generation=1, owner="w"),
        c.RecordReplyUndeliverable(question_id="q1", reason="x"),
        c.ExpireQuestion(question_id="q1", now=RETRY_AT),
    ],
    ids=lambda command: type(command).__name__,
)
def test_all_else_needs_a_known_run(command):
    run.given().when(command).then_error(NotFound)
