"""agent_finished → syncing → exported → finished; and cancel, which works in every state."""

import pytest
from msgspec.structs import replace

from domain.errors import Conflict
from domain.run import commands as c
from domain.run import events as e
from domain.run.values import Usage, Warn, silent_outside_error, timeout_error
from tests.support.runs import (
    AGENT_DONE,
    ANSWERED,
    ASKED,
    BLOCKED,
    BOUND,
    CANCEL_REQUESTED,
    CLAIMED,
    ENDED,
    EXPORTED,
    EXPORTED_NOW,
    EXPORTED_TO,
    FINISHED,
    FINISHED_NOW,
    HISTORIES,
    PREPARING,
    QUEUED,
    RESOLVED,
    RETRY_AT,
    RETRYING,
    RUNNING,
    SYNCING,
    SYNCING_NOW,
    USAGE,
    WAITING,
    claimed,
    error,
    run,
)
from tests.support.specification import T0, minutes

BEGIN_SYNC = c.BeginFinalSync(lease_generation=1, sync_id="final")
EXPORT = c.RecordExported(lease_generation=1, sync=EXPORTED_TO)
FINISH = c.FinishRun(lease_generation=1, retry_at=RETRY_AT)
WARNING = Warn(code="export_failed", message="S3 is away")


class TestTheOrder:
    def test_is_agent_sync_export_finish(self):
        given = run.given(*ENDED).when(BEGIN_SYNC).then(SYNCING_NOW)
        assert given.state.public_state == "syncing"
        given = given.when(EXPORT).then(EXPORTED_NOW)
        assert given.state.public_state == "exported"
        given = given.when(FINISH).then(FINISHED_NOW)
        assert given.state.public_state == "succeeded"

    def test_has_no_export_before_its_sync(self):
        run.given(*ENDED).when(EXPORT).then_error(Conflict, reason="not_syncing")

    @pytest.mark.parametrize("history", [ENDED, SYNCING], ids=["ended", "syncing"])
    def test_has_no_finish_before_the_export(self, history):
        run.given(*history).when(FINISH).then_error(Conflict, reason="not_exported")

    @pytest.mark.parametrize("command", [BEGIN_SYNC, EXPORT, FINISH], ids=["sync", "export", "finish"])
    @pytest.mark.parametrize("history", [CLAIMED, RUNNING, FINISHED], ids=["claimed", "running", "finished"])
    def test_begins_with_the_agent_s_end_and_ends_once(self, command, history):
        run.given(*history).when(command).then_nothing()

    def test_repeats_no_step(self):
        run.given(*SYNCING).when(BEGIN_SYNC).then_nothing()
        run.given(*EXPORTED).when(EXPORT).then_nothing()

    def test_ends_without_an_export_only_with_a_warning(self):
        finish = c.FinishRun(lease_generation=1, retry_at=RETRY_AT, warning=WARNING)
        run.given(*SYNCING).when(finish).then(
            e.RunWarning(lease_generation=1, warning=WARNING),
            e.RunFinished(
                lease_generation=1, outcome="succeeded", exported=False, usage=USAGE, provider_session_id="ps1"
            ),
        )


class TestACancel:
    @pytest.mark.parametrize("history", [QUEUED, RETRYING, BLOCKED], ids=["queued", "retrying", "blocked"])
    def test_of_what_nobody_holds_is_the_end(self, history):
        outcome = run.given(*history).when(c.CancelRun(reason="enough"))
        given = outcome.then(
            e.RunCancelRequested(reason="enough"), e.RunFinished(outcome="canceled", exported=False, usage=Usage())
        )
        assert given.state.public_state == "canceled"

    @pytest.mark.parametrize("history", [CLAIMED, PREPARING, RUNNING, ENDED, SYNCING, EXPORTED])
    def test_of_what_somebody_holds_is_told_once(self, history):
        given = run.given(*history).when(c.CancelRun()).then(CANCEL_REQUESTED)
        given.when(c.CancelRun()).then_nothing()

    def test_before_the_start_ends_with_the_attempt(self):
        failed = c.FailAttempt(lease_generation=1, error=error("environment"), retry_at=RETRY_AT)
        outcome = run.given(*PREPARING, CANCEL_REQUESTED).when(failed)
        given = outcome.then(
            e.RunFinished(lease_generation=1, outcome="canceled", exported=False, error=error("environment"))
        )
        assert given.state.public_state == "canceled"

    @pytest.mark.parametrize("outcome", ["succeeded", "failed", "canceled"])
    def test_wins_over_whatever_the_agent_ends_with(self, outcome):
        done = e.RunAgentFinished(lease_generation=1, outcome=outcome)
        given = run.given(*RUNNING, CANCEL_REQUESTED, done, SYNCING_NOW, EXPORTED_NOW)
        given.when(FINISH).then(e.RunFinished(lease_generation=1, outcome="canceled", exported=True))

    def test_wins_over_a_retry(self):
        done = e.RunAgentFinished(lease_generation=1, outcome="failed", error=error("rate_limited"))
        given = run.given(*RUNNING, CANCEL_REQUESTED, done, SYNCING_NOW, EXPORTED_NOW)
        given.when(FINISH).then_types(e.RunFinished)

    def test_of_an_external_run_ends_its_agent(self):
        run.given(*BOUND, ASKED).when(c.CancelRun()).then(
            CANCEL_REQUESTED,
            e.HumanLoopCanceled(question_id="q1", reason="run canceled"),
            e.RunAgentFinished(outcome="canceled"),
        )

    def test_after_the_end_changes_nothing(self):
        run.given(*FINISHED).when(c.CancelRun()).then_nothing()

    def test_leaves_no_question_open(self):
        outcome = run.given(*QUEUED, ASKED).when(c.CancelRun())
        given = outcome.then_types(e.RunCancelRequested, e.HumanLoopCanceled, e.RunFinished)
        assert given.state.open_questions == ()


@pytest.mark.parametrize(
    ("name", "state"),
    [
        ("queued", "queued"),
        ("claimed", "claimed"),
        ("preparing", "preparing"),
        ("running", "running"),
        ("waiting_human", "waiting_human"),
        ("answering", "waiting_human"),
        ("ended", "running"),
        ("syncing", "syncing"),
        ("exported", "exported"),
        ("finished", "succeeded"),
        ("retrying", "queued"),
        ("blocked", "blocked"),
        ("bound", "running"),
    ],
)
def test_the_public_state_has_the_fixed_words(name, state):
    assert run.given(*HISTORIES[name]).state.public_state == state


class TestAnOverdueExternalRun:
    SILENCE = c.EndOverdueRun(now=T0 + minutes(10), run_ms=0, silence_ms=600_000)
    WHOLE = c.EndOverdueRun(now=T0 + minutes(10), run_ms=600_000, silence_ms=0)

    def test_fails_when_nothing_was_reported_for_too_long(self):
        given = (
            run.given(*BOUND)
            .when(self.SILENCE)
            .then(
                e.RunTimedOut(what="silence", limit_ms=600_000),
                e.RunAgentFinished(outcome="failed", error=silent_outside_error(600_000)),
            )
        )
        assert given.state.stage.error.error_class == "timeout"
        assert "EXTERNAL_RUN_SILENCE_TIMEOUT_MS" in given.state.stage.error.message

    def test_is_not_silent_while_it_reports(self):
        for reported in (e.MessageDelta(text="x"), e.TodosReplaced(todos=()), e.RunWarning(warning=WARNING)):
            run.given(*BOUND).given(reported, at=T0 + minutes(1)).when(self.SILENCE).then_nothing()

    def test_is_not_silent_while_it_waits_for_an_answer_nor_right_after_it(self):
        given = run.given(*BOUND, ASKED)
        given.when(self.SILENCE).then_nothing()
        given.given(ANSWERED, RESOLVED, at=T0 + minutes(9)).when(self.SILENCE).then_nothing()

    def test_fails_when_it_goes_on_for_too_long_whatever_it_reports_or_waits_for(self):
        given = run.given(*BOUND, ASKED).given(e.MessageDelta(text="x"), at=T0 + minutes(9))
        given.when(self.WHOLE).then(
            e.RunTimedOut(what="run", limit_ms=600_000),
            e.HumanLoopExpired(question_id="q1", reason=timeout_error("run", 600_000).message),
            e.RunAgentFinished(outcome="failed", error=timeout_error("run", 600_000)),
        )

    @pytest.mark.parametrize("name", [name for name in HISTORIES if name != "bound"])
    def test_is_never_one_that_is_executed_here(self, name):
        for command in (self.SILENCE, self.WHOLE):
            run.given(*HISTORIES[name]).when(command).then_nothing()

    def test_is_left_alone_without_a_limit_before_it_and_after_its_end(self):
        run.given(*BOUND).when(replace(self.SILENCE, silence_ms=0)).then_nothing()
        run.given(*BOUND).when(replace(self.SILENCE, now=T0 + minutes(9.9))).then_nothing()
        run.given(*BOUND, e.RunAgentFinished(outcome="succeeded")).when(self.SILENCE).then_nothing()


def test_an_external_run_is_finished_by_whoever_claims_its_final_sync():
    outcome = run.given(*BOUND).when(c.RecordCallback(event=e.RunAgentFinished(outcome="succeeded")))
    outcome = outcome.then_types(e.RunAgentFinished).when(c.ClaimRun(lease_generation=1, owner="w1"))
    given = outcome.then(claimed(1, 1, resumed=True)).when(BEGIN_SYNC).then(SYNCING_NOW).when(EXPORT).then(EXPORTED_NOW)
    given.when(FINISH).then(e.RunFinished(lease_generation=1, outcome="succeeded", exported=True))


def test_a_failure_while_waiting_for_a_human_is_final():
    lost = c.FailAttempt(lease_generation=1, error=error("executor_lost"), retry_at=RETRY_AT, tail_lost=True)
    run.given(*WAITING).when(lost).then_types(e.HumanLoopExpired, e.RunTailLost, e.RunAgentFinished)


def test_usage_and_the_provider_s_session_are_the_agent_s():
    state = run.given(*ENDED).state
    assert (state.usage, state.provider_session_id) == (AGENT_DONE.usage, "ps1")


def test_an_agent_that_takes_too_long_is_ended_and_its_run_fails_for_it():
    timed_out = e.RunTimedOut(lease_generation=1, what="silence", limit_ms=90_000)
    command = c.TimeOutRun(lease_generation=1, what="silence", limit_ms=90_000)
    given = run.given(*RUNNING).when(command).then(timed_out)
    given.when(command).then_nothing()
    ended = e.RunAgentFinished(lease_generation=1, outcome="canceled")
    reason = timeout_error("silence", 90_000)
    entry = c.RecordJournalEntry(lease_generation=1, attempt=1, n=1, event=ended)
    given.when(entry).then(replace(ended, outcome="failed", error=reason))


def test_nothing_else_takes_too_long():
    for history in (PREPARING, ENDED, (*RUNNING, CANCEL_REQUESTED)):
        run.given(*history).when(c.TimeOutRun(lease_generation=1, what="run", limit_ms=1)).then_nothing()


def test_an_aborted_run_fails_with_the_reason_once_its_agent_is_ended():
    reason = error("environment")
    given = run.given(*RUNNING).when(c.AbortRun(error=reason)).then(e.RunAborted(error=reason))
    given.when(c.AbortRun(error=reason)).then_nothing()
    ended = e.RunAgentFinished(lease_generation=1, outcome="canceled")
    entry = c.RecordJournalEntry(lease_generation=1, attempt=1, n=1, event=ended)
    given.when(entry).then(replace(ended, outcome="failed", error=reason))


def test_an_external_run_that_is_aborted_has_ended_since_nobody_here_ends_its_agent():
    reason = error("environment")
    given = run.given(*BOUND, ASKED).when(c.AbortRun(error=reason))
    expired = e.HumanLoopExpired(question_id="q1", reason=reason.message)
    given.then(e.RunAborted(error=reason), expired, e.RunAgentFinished(outcome="failed", error=reason))


def test_a_run_that_is_not_executed_or_canceled_already_is_not_aborted():
    for history in (QUEUED, ENDED, (*RUNNING, CANCEL_REQUESTED)):
        run.given(*history).when(c.AbortRun(error=error("environment"))).then_nothing()
