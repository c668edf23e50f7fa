"""A question waits for its first answer, which is delivered into the running agent; or it expires, or is canceled."""

import pytest
from msgspec.structs import replace

from domain.errors import Conflict, NotFound
from domain.run import commands as c
from domain.run import events as e
from domain.run.values import unanswered_error
from tests.support.runs import (
    AGENT_DONE,
    ANSWERED,
    ANSWERING,
    ASKED,
    ASKED_BY_AGENT,
    BOUND,
    CANCEL_REQUESTED,
    EXPORTED_NOW,
    RESOLVED,
    RETRY_AT,
    RUN_STARTED,
    RUNNING,
    SYNCING_NOW,
    WAITING,
    claimed,
    error,
    run,
)
from tests.support.specification import T0, minutes

REPLY = c.ReplyToQuestion(question_id="q1", answer="yes")
TIMEOUT = e.HumanLoopExpired(question_id="q1", reason="timeout")
DELIVERED = c.RecordJournalEntry(lease_generation=1, attempt=1, n=1, event=RESOLVED)
AN_HOUR_LATER = c.ExpireQuestion(question_id="q1", now=T0 + minutes(60))


def test_a_question_makes_the_run_wait():
    assert run.given(*WAITING).state.public_state == "waiting_human"


def test_the_first_reply_is_accepted_and_delivered_before_it_is_resolved():
    given = run.given(*WAITING).when(REPLY).then(ANSWERED)
    assert given.state.public_state == "waiting_human"
    given = given.when(DELIVERED).then(replace(RESOLVED, lease_generation=1))
    assert given.state.public_state == "running"


@pytest.mark.parametrize("history", [ANSWERING, (*ANSWERING, RESOLVED)], ids=["answering", "resolved"])
def test_a_second_reply_is_a_duplicate_and_no_error(history):
    given = run.given(*history).when(replace(REPLY, answer="no")).then_nothing()
    assert given.state.question("q1").answer == "yes"


def test_a_reply_to_what_was_never_asked_is_not_found():
    run.given(*RUNNING).when(REPLY).then_error(NotFound, saying="'q1'")


@pytest.mark.parametrize(
    ("closing", "reason"),
    [(TIMEOUT, "question_expired"), (e.HumanLoopCanceled(question_id="q1", reason="x"), "question_canceled")],
)
def test_a_reply_to_a_closed_question_is_refused(closing, reason):
    run.given(*WAITING, closing).when(REPLY).then_error(Conflict, reason=reason)


def test_a_refused_reply_says_what_became_of_the_question():
    run.given(*WAITING, TIMEOUT).when(REPLY).then_error(Conflict, saying="'q1' is expired: timeout")


def test_a_question_that_a_callback_asked_is_resolved_by_its_reply():
    """Its asker reads the answer here: the executor knows nothing of it, and could not deliver one."""
    given = run.given(*RUNNING).when(c.RecordCallback(event=ASKED)).then(ASKED)
    given.when(REPLY).then(ANSWERED, RESOLVED).when(replace(REPLY, answer="no")).then_nothing()


def test_several_questions_are_open_at_once():
    given = run.given(*WAITING, replace(ASKED, question_id="q2"), ANSWERED, RESOLVED)
    assert given.state.open_questions == ("q2",)
    assert given.state.public_state == "waiting_human"


def test_a_reply_that_can_not_be_delivered_expires_the_question():
    undeliverable = c.RecordReplyUndeliverable(question_id="q1", reason="the executor is gone")
    outcome = run.given(*ANSWERING).when(undeliverable)
    given = outcome.then(e.HumanLoopExpired(question_id="q1", reason="the executor is gone"))
    given.when(undeliverable).then_nothing()
    assert given.state.abort is None


class TestATimeout:
    def test_expires_the_question_at_its_time_and_not_before(self):
        early = c.ExpireQuestion(question_id="q1", now=T0 + minutes(59.9))
        given = run.given(*WAITING).when(early).then_nothing()
        given.when(AN_HOUR_LATER).then(TIMEOUT).when(AN_HOUR_LATER).then_nothing()

    def test_makes_the_run_fail_once_its_agent_is_ended(self):
        given = run.given(*WAITING, TIMEOUT)
        ended = e.RunAgentFinished(lease_generation=1, outcome="canceled")
        entry = c.RecordJournalEntry(lease_generation=1, attempt=1, n=1, event=ended)
        failed = replace(ended, outcome="failed", error=unanswered_error("q1"))
        given = given.when(entry).then(failed).given(SYNCING_NOW, EXPORTED_NOW)
        given.when(c.FinishRun(lease_generation=1, retry_at=RETRY_AT)).then(
            e.RunFinished(lease_generation=1, outcome="failed", exported=True, error=unanswered_error("q1"))
        )

    def test_with_a_default_answer_goes_on(self):
        outcome = run.given(*RUNNING, replace(ASKED_BY_AGENT, default_answer="no")).when(AN_HOUR_LATER)
        given = outcome.then(replace(ANSWERED, answer="no"))
        no = replace(RESOLVED, answer="no")
        given.when(replace(DELIVERED, event=no)).then(replace(no, lease_generation=1))

    def test_does_not_overtake_a_reply_on_its_way(self):
        run.given(*ANSWERING).when(AN_HOUR_LATER).then_nothing()

    def test_of_a_question_without_one_never_comes(self):
        run.given(*RUNNING, replace(ASKED, timeout_ms=None)).when(AN_HOUR_LATER).then_nothing()

    def test_of_an_unknown_question_changes_nothing(self):
        run.given(*RUNNING).when(AN_HOUR_LATER).then_nothing()


class TestAnExternalRun:
    """Nobody here can deliver a reply to it or end its agent: the log is all there is."""

    def test_is_resolved_by_the_reply(self):
        run.given(*BOUND, ASKED).when(REPLY).then(ANSWERED, RESOLVED)

    def test_goes_on_with_a_default_answer(self):
        run.given(*BOUND, replace(ASKED, default_answer="no")).when(AN_HOUR_LATER).then(
            replace(ANSWERED, answer="no"), replace(RESOLVED, answer="no")
        )

    def test_fails_when_nobody_answers(self):
        other = replace(ASKED, question_id="q2", timeout_ms=None)
        run.given(*BOUND, ASKED, other).when(AN_HOUR_LATER).then(
            TIMEOUT,
            e.HumanLoopExpired(question_id="q2", reason=unanswered_error("q1").message),
            e.RunAgentFinished(outcome="failed", error=unanswered_error("q1")),
        )


class TestTheEndOfTheAgent:
    @pytest.mark.parametrize("history", [WAITING, ANSWERING], ids=["open", "answering"])
    def test_expires_open_questions(self, history):
        entry = c.RecordJournalEntry(lease_generation=1, attempt=1, n=1, event=AGENT_DONE)
        run.given(*history).when(entry).then(
            e.HumanLoopExpired(lease_generation=1, question_id="q1", reason="the agent ended"), AGENT_DONE
        )

    def test_with_its_executor_expires_them_too(self):
        lost = c.FailAttempt(lease_generation=1, error=error("executor_lost", "gone"), retry_at=RETRY_AT)
        run.given(*WAITING).when(lost).then(
            e.HumanLoopExpired(lease_generation=1, question_id="q1", reason="gone"),
            e.RunAgentFinished(lease_generation=1, outcome="failed", error=error("executor_lost", "gone")),
        )

    def test_lets_the_next_attempt_ask_again(self):
        history = (
            *WAITING,
            e.HumanLoopExpired(lease_generation=1, question_id="q1", reason="gone"),
            e.RunAgentFinished(lease_generation=1, outcome="failed", error=error("rate_limited")),
            e.RunRetryScheduled(lease_generation=1, attempt=1, error=error("rate_limited"), available_at=RETRY_AT),
            claimed(2, 2),
            replace(RUN_STARTED, lease_generation=2, attempt=2),
        )
        run.given(*history).when(REPLY).then_error(Conflict, reason="question_expired")
        entry = c.RecordJournalEntry(lease_generation=2, attempt=2, n=1, event=ASKED)
        given = run.given(*history).when(entry).then(replace(ASKED, lease_generation=2))
        assert given.state.public_state == "waiting_human"
        given.when(REPLY).then(ANSWERED)


def test_a_cancel_cancels_open_questions():
    canceled = e.HumanLoopCanceled(question_id="q1", reason="run canceled")
    given = run.given(*WAITING).when(c.CancelRun()).then(CANCEL_REQUESTED, canceled)
    given.when(REPLY).then_error(Conflict, reason="question_canceled")


def test_a_question_after_the_cancel_is_canceled_with_the_agent():
    entry = c.RecordJournalEntry(lease_generation=1, attempt=1, n=1, event=AGENT_DONE)
    run.given(*RUNNING, CANCEL_REQUESTED, ASKED).when(entry).then(
        e.HumanLoopCanceled(lease_generation=1, question_id="q1", reason="the agent ended"), AGENT_DONE
    )
