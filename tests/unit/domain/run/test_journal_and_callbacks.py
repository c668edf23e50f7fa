"""What an agent reports: by the executor's journal, entry by entry, or by callbacks from outside."""

import pytest
from msgspec.structs import replace

from domain.errors import Conflict, InvalidInput
from domain.run import commands as c
from domain.run import events as e
from domain.run.evolve import journal_entry_number, journal_event_id
from domain.run.values import RunError, Todo, Usage, Warn
from tests.support.runs import (
    AGENT_DONE,
    ASKED,
    BLOCKED,
    BOUND,
    CLAIMED,
    ENDED,
    EXPORTED,
    FINISHED,
    QUEUED,
    QUEUED_NOW,
    RESOLVED,
    RETRY_AT,
    RUNNING,
    SYNCING,
    WAITING,
    claimed,
    run,
)

CANCELED = e.HumanLoopCanceled(question_id="q1", reason="x")
EXPIRED = e.HumanLoopExpired(question_id="q1", reason="timeout")
DELTA = e.MessageDelta(text="hello")
STOP = e.MessageStopped(text="done")
REPORTS = (
    DELTA,
    STOP,
    e.ReasoningDelta(text="hm"),
    e.ToolStarted(tool_id="t", name="sh"),
    e.ToolEnded(tool_id="t"),
    e.TodoUpdated(todo=Todo(todo_id="a", content="x")),
    e.TodosReplaced(todos=()),
    ASKED,
    e.RunWarning(warning=Warn(code="w", message="m")),
)


def entry(n, event, attempt=1, lease=1):
    return c.RecordJournalEntry(lease_generation=lease, attempt=attempt, n=n, event=event)


def leased(event, lease=1):
    return replace(event, lease_generation=lease)


class TestAJournalEntry:
    @pytest.mark.parametrize("event", REPORTS, ids=lambda event: event.wire_name)
    def test_is_one_event_with_the_lease_of_its_writer(self, event):
        run.given(*RUNNING).when(entry(1, event)).then(leased(event))

    def test_is_counted_by_its_event_id(self):
        given = run.given(*RUNNING).given(leased(DELTA), event_id=journal_event_id("r1", 1, "b1", 1))
        assert given.state.entries == 1
        given.when(entry(2, DELTA)).then(leased(DELTA))

    def test_recorded_again_changes_nothing(self):
        given = run.given(*RUNNING).given(leased(DELTA), event_id="r1/1/b1/1")
        given.when(entry(1, DELTA)).then_nothing()

    def test_is_never_skipped(self):
        run.given(*RUNNING).when(entry(2, DELTA)).then_error(Conflict, reason="journal_gap")

    def test_of_another_attempt_changes_nothing(self):
        run.given(*RUNNING).when(entry(1, DELTA, attempt=2)).then_nothing()

    @pytest.mark.parametrize("history", [CLAIMED, FINISHED], ids=["before the start", "after the end"])
    def test_outside_the_agent_s_life_changes_nothing(self, history):
        run.given(*history).when(entry(1, DELTA)).then_nothing()

    def test_counts_anew_in_the_next_attempt(self):
        retry = e.RunRetryScheduled(
            lease_generation=1, attempt=1, error=RunError(error_class="network", message="gone"), available_at=RETRY_AT
        )
        given = run.given(*RUNNING).given(leased(DELTA), event_id="r1/1/b1/1").given(retry, claimed(2, 2))
        assert given.state.entries == 0

    def test_of_a_question_that_was_asked_before_is_a_warning(self):
        outcome = run.given(*WAITING).when(entry(1, ASKED))
        outcome.then_types(e.RunWarning)
        assert outcome.events[0].warning.code == "entry_ignored"

    def test_of_an_answer_that_is_known_is_a_warning(self):
        run.given(*WAITING, RESOLVED).when(entry(1, RESOLVED)).then_types(e.RunWarning)

    @pytest.mark.parametrize("event", [QUEUED_NOW, e.RunFinished(outcome="succeeded", exported=True), claimed(9)])
    def test_says_nothing_but_what_an_agent_can_know(self, event):
        run.given(*RUNNING).when(entry(1, event)).then_error(InvalidInput, field="journal", saying=event.wire_name)

    def test_of_its_end_ends_the_agent(self):
        given = run.given(*RUNNING).when(entry(1, AGENT_DONE)).then(AGENT_DONE)
        assert given.state.stage.outcome == "succeeded"

    def test_after_an_end_that_a_callback_told_is_kept(self):
        given = run.given(*RUNNING, leased(AGENT_DONE, 0))
        given = given.when(entry(1, DELTA)).then(leased(DELTA))
        given.when(entry(1, AGENT_DONE)).then_nothing()

    @pytest.mark.parametrize(
        ("event_id", "number"),
        [
            ("r1/1/b1/7", 7),
            ("r1/2/b1/7", 0),
            ("r1/1/b1/x", 0),
            ("r1/1/b1/7/before/0", 0),
            ("cb/7", 0),
            ("effect", 0),
        ],
    )
    def test_is_told_from_other_events_by_its_id(self, event_id, number):
        assert journal_entry_number(event_id, 1) == number


class TestACallback:
    @pytest.mark.parametrize("event", REPORTS, ids=lambda event: event.wire_name)
    @pytest.mark.parametrize("history", [QUEUED, RUNNING, BOUND], ids=["queued", "running", "bound"])
    def test_is_recorded_without_a_lease(self, event, history):
        run.given(*history).when(c.RecordCallback(event=leased(event, 9))).then(leased(event, 0))

    def test_never_passes_for_a_journal_entry(self):
        given = run.given(*RUNNING).given(DELTA, event_id="cb/1/b1/99")
        assert given.state.entries == 0

    @pytest.mark.parametrize("event", [*REPORTS, AGENT_DONE], ids=lambda event: event.wire_name)
    @pytest.mark.parametrize(
        "history", [ENDED, SYNCING, EXPORTED, FINISHED, BLOCKED], ids=["ended", "syncing", "out", "over", "blocked"]
    )
    def test_that_comes_late_changes_nothing(self, event, history):
        run.given(*history).when(c.RecordCallback(event=event)).then_nothing()

    @pytest.mark.parametrize("event", [QUEUED_NOW, e.RunFinished(outcome="succeeded", exported=True), claimed(9)])
    def test_says_nothing_but_what_an_agent_can_know(self, event):
        run.given(*RUNNING).when(c.RecordCallback(event=event)).then_error(InvalidInput, field="type")

    def test_of_a_question_that_was_asked_before_changes_nothing(self):
        run.given(*WAITING).when(c.RecordCallback(event=ASKED)).then_nothing()

    @pytest.mark.parametrize(
        "event",
        [
            RESOLVED,
            e.HumanLoopCanceled(question_id="q1", reason="x"),
            e.HumanLoopExpired(question_id="q1", reason="timeout"),
        ],
        ids=lambda event: event.wire_name,
    )
    def test_closes_an_open_question_once(self, event):
        run.given(*WAITING).when(c.RecordCallback(event=event)).then(event)
        run.given(*WAITING, RESOLVED).when(c.RecordCallback(event=event)).then_nothing()

    @pytest.mark.parametrize(
        ("end", "again"),
        [
            (replace(RESOLVED, answer=0), replace(RESOLVED, answer=0)),
            (CANCELED, CANCELED),
            (EXPIRED, replace(EXPIRED, reason="before it was asked: timeout")),
        ],
        ids=["resolved", "canceled", "expired"],
    )
    def test_of_a_question_s_end_may_overtake_that_of_its_request(self, end, again):
        given = run.given(*RUNNING).when(c.RecordCallback(event=end)).then(end)
        assert given.state.public_state == "running"
        assert given.state.abort is None
        given.when(c.RecordCallback(event=end)).then_nothing()
        given = given.when(c.RecordCallback(event=ASKED)).then(ASKED, again)
        assert given.state.public_state == "running"
        assert given.state.abort is None
        given.when(c.RecordCallback(event=ASKED)).then_nothing()

    def test_of_an_answer_does_not_close_what_the_agent_asks_later(self):
        given = run.given(*RUNNING, RESOLVED).when(entry(1, ASKED)).then(leased(ASKED))
        assert given.state.public_state == "waiting_human"

    def test_of_the_end_ends_an_external_run_s_agent(self):
        done = e.RunAgentFinished(outcome="succeeded", usage=Usage(input_tokens=3))
        outcome = run.given(*BOUND, ASKED).when(c.RecordCallback(event=done))
        given = outcome.then(e.HumanLoopExpired(question_id="q1", reason="the agent ended"), done)
        assert given.state.usage == Usage(input_tokens=3)


def test_a_closed_question_stays_as_it_was_closed():
    given = run.given(*WAITING, RESOLVED, e.HumanLoopExpired(question_id="q1", reason="timeout"))
    assert given.state.question("q1").status == "resolved"
    assert given.state.abort is None
