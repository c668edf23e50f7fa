"""Quotas of a run: it is aborted by name, its agent's end is still recorded, and a list that is cut says so."""

from functools import partial

import msgspec
import pytest
from msgspec.structs import replace

from domain.errors import Conflict
from domain.event import encode
from domain.run import commands as c
from domain.run import events as e
from domain.run.decide import decide
from domain.run.questions import MAX_CLOSED_AT_ONCE
from domain.run.quotas import MAX_EARLY_BYTES, MAX_ID_BYTES, MAX_QUESTIONS, MAX_TODO_BYTES, RunQuotas, evolve_counting
from domain.run.state import Finishing
from domain.run.values import Todo, Usage, quota_error
from tests.support.runs import BOUND, RUNNING, claimed
from tests.support.specification import Specification

QUOTAS = RunQuotas(events=3, bytes=2_000, todos=3, open_questions=2)
run = Specification(partial(decide, quotas=QUOTAS), evolve_counting)
generous = Specification(decide, evolve_counting)
SAID = e.MessageDelta(lease_generation=1, text="x")
DONE = e.RunAgentFinished(outcome="succeeded", usage=Usage(input_tokens=7))


def entry(n, event):
    return c.RecordJournalEntry(lease_generation=1, attempt=1, n=n, event=event)


def over(quota, limit, reached, lease=1):
    return e.RunQuotaExceeded(lease_generation=lease, quota=quota, limit=limit, reached=reached)


def running(*events):
    """A running run, whose journal has reported these events."""
    given = run.given(*RUNNING)
    for n, event in enumerate(events, 1):
        given = given.given(event, event_id=f"r1/1/b1/{n}")
    return given


def asked(number, **more):
    return e.HumanLoopRequested(lease_generation=1, question_id=f"q{number}", **more)


def todos(*names, content=""):
    return tuple(Todo(todo_id=str(name), content=content) for name in names)


class TestARunThatRecordsTooMuch:
    def test_is_aborted_at_its_quota_of_events(self):
        given = running(SAID, SAID, SAID).when(entry(4, SAID)).then(over("events_per_run", 3, 4))
        assert given.state.abort == quota_error("events_per_run", 3, 4)
        assert given.state.abort.error_class == "quota_exceeded"
        assert "MAX_EVENTS_PER_RUN allows 3" in given.state.abort.message
        assert "raise the limit" in given.state.abort.message

    def test_is_aborted_at_its_quota_of_bytes(self):
        first = replace(SAID, text="x" * 1_500)
        size = len(encode(first)) + len(encode(replace(first, text="y" * 600)))
        running(first).when(entry(2, replace(SAID, text="y" * 400))).then_types(e.MessageDelta)
        running(first).when(entry(2, replace(first, text="y" * 600))).then(over("bytes_per_run", 2_000, size))

    def test_counts_callbacks_and_agent_lines_alike(self):
        given = running(SAID, SAID).when(c.RecordCallback(event=SAID)).then(replace(SAID, lease_generation=0))
        given.when(c.RecordCallback(event=SAID)).then(over("events_per_run", 3, 4, lease=0))

    def test_records_nothing_more_of_its_agent(self):
        given = running(SAID).given(over("events_per_run", 3, 4))
        given.when(entry(2, SAID)).then_nothing()
        given.when(entry(900, SAID)).then_nothing()
        given.when(c.RecordCallback(event=SAID)).then_nothing()

    def test_fails_by_the_quota_when_its_agent_has_ended_whatever_that_says(self):
        given = running(SAID, asked(1)).given(over("events_per_run", 3, 4))
        outcome = given.when(entry(900, DONE))
        lost, closed, ended = outcome.events
        assert (lost.recorded_entries, closed.question_id) == (2, "q1")
        failed = replace(DONE, lease_generation=1, outcome="failed", error=quota_error("events_per_run", 3, 4))
        assert ended == failed
        assert ended.usage == Usage(input_tokens=7)
        state = outcome.then(lost, closed, ended).state
        assert state.stage == Finishing(outcome="failed", error=failed.error)

    def test_loses_no_tail_if_the_end_comes_next(self):
        given = running(SAID).given(over("events_per_run", 3, 4))
        given.when(entry(2, DONE)).then_types(e.RunAgentFinished)

    def test_is_not_tried_again(self):
        state = running(SAID).given(over("events_per_run", 3, 4)).given(claimed(2, resumed=True)).state
        assert state.over_quota

    def test_ends_at_once_if_nobody_here_drives_it(self):
        given = run.given(*BOUND, SAID, SAID, SAID)
        error = quota_error("events_per_run", 3, 4)
        given = given.when(c.RecordCallback(event=SAID)).then(
            over("events_per_run", 3, 4, lease=0), e.RunAgentFinished(outcome="failed", error=error)
        )
        assert given.state.over_quota


class TestAQuotaOfTheSession:
    EXCEED = c.ExceedQuota(quota="events_per_session_hour", limit=5, reached=6)
    EXCEEDED = over("events_per_session_hour", 5, 6, lease=0)

    def test_aborts_the_run_once(self):
        given = running(SAID).when(self.EXCEED).then(self.EXCEEDED)
        assert "in this hour" in given.state.abort.message
        given.when(self.EXCEED).then_nothing()

    def test_changes_nothing_after_the_agent_s_end(self):
        run.given(*RUNNING, replace(DONE, lease_generation=1)).when(self.EXCEED).then_nothing()


class TestQuestions:
    def test_more_than_may_be_open_abort_the_run(self):
        running(asked(1), asked(2)).when(entry(3, asked(3))).then(over("open_questions_per_run", 2, 3))

    def test_that_were_answered_make_room(self):
        resolved = e.HumanLoopResolved(lease_generation=1, question_id="q1", answer="yes")
        generous_on_events = Specification(partial(decide, quotas=replace(QUOTAS, events=99)), evolve_counting)
        given = generous_on_events.given(*RUNNING, asked(1), asked(2), resolved)
        given.when(c.RecordCallback(event=asked(3))).then_types(e.HumanLoopRequested)

    def test_with_values_that_the_state_would_have_to_remember_abort_the_run(self):
        long = replace(asked(1), question_id="q" * 2_000)
        generous.given(*RUNNING).when(entry(1, long)).then(over("bytes_of_question_id", MAX_ID_BYTES, 2_000))
        large = asked(1, default_answer="a" * 20_000)
        generous.given(*RUNNING).when(entry(1, large)).then_types(e.RunQuotaExceeded)

    @pytest.mark.parametrize(
        "early",
        [
            e.HumanLoopResolved(question_id="q9", answer="a" * 20_000),
            e.HumanLoopCanceled(question_id="q9", reason="r" * 20_000),
            e.HumanLoopExpired(question_id="q" * 2_000, reason="timeout"),
        ],
    )
    def test_that_end_before_they_are_asked_are_remembered_too_and_no_large_ones(self, early):
        outcome = generous.given(*RUNNING).when(c.RecordCallback(event=early))
        assert outcome.events[0].quota in {"bytes_of_early_answer", "bytes_of_question_id"}
        known = generous.given(*RUNNING, replace(asked(1), question_id=early.question_id))
        known.when(c.RecordCallback(event=early)).then_types(type(early))

    def test_count_once_they_are_asked_or_have_ended(self):
        ends = [e.HumanLoopResolved(question_id=f"q{number}", answer="yes") for number in range(3)]
        given = generous.given(*RUNNING, asked(0), *ends)
        assert given.state.recorded.questions == 3
        full = replace(given.state, recorded=replace(given.state.recorded, questions=MAX_QUESTIONS))
        one_more = c.RecordCallback(event=replace(ends[0], question_id="one more"))
        assert decide(full, one_more) == (over("questions_per_run", MAX_QUESTIONS, MAX_QUESTIONS + 1, lease=0),)

    def test_that_end_before_they_are_asked_are_bounded_all_together(self):
        ends = [e.HumanLoopResolved(question_id=f"q{number}", answer="a" * 16_000) for number in range(66)]
        given = generous.given(*RUNNING, *ends[:65])
        assert given.state.recorded.early_bytes == 65 * 16_002
        assert decide(given.state, c.RecordCallback(event=ends[65])) == (
            over("bytes_of_early_answers", MAX_EARLY_BYTES, 66 * 16_002, lease=0),
        )
        small = e.HumanLoopCanceled(question_id="q65", reason="small")
        given.when(c.RecordCallback(event=small)).then_types(e.HumanLoopCanceled)
        known = e.HumanLoopResolved(question_id="q66", answer="a" * 16_000)
        generous.given(*RUNNING, *ends[:65], asked(66)).when(c.RecordCallback(event=known)).then_types(type(known))

    def test_that_were_answered_early_still_end_as_they_did_once_they_are_asked(self):
        early = e.HumanLoopResolved(question_id="q1", answer="a" * 16_000)
        request = e.HumanLoopRequested(question_id="q1")
        outcome = generous.given(*RUNNING, early).when(c.RecordCallback(event=request))
        outcome.then(request, early)

    def test_thousands_of_closed_ones_leave_little_in_the_state(self):
        events = []
        for number in range(200):
            key = f"q{number}"
            answered = e.HumanLoopResolved(question_id=key, answer="a" * 16_000)
            canceled = e.HumanLoopCanceled(question_id=key, reason="é" * 16_000)
            events += [asked(number), canceled if number % 2 else answered]
        state = generous.given(*RUNNING, *events).state
        assert len(msgspec.json.encode(state)) < 200 * 1200
        assert state.question("q1").reason == "é" * 512

    def test_that_are_closed_are_remembered_without_large_answers(self):
        asked_with_default = asked(1, default_answer="no")
        for answer, remembered in (("a" * 100, "a" * 100), ("a" * 2_000, None)):
            resolved = e.HumanLoopResolved(lease_generation=1, question_id="q1", answer=answer)
            question = generous.given(*RUNNING, asked_with_default, resolved).state.question("q1")
            assert (question.answer, question.default_answer, question.status) == (remembered, None, "resolved")

    def test_of_a_run_from_before_the_quota_are_closed_some_thousands_at_a_time(self):
        many = [asked(number) for number in range(MAX_CLOSED_AT_ONCE + 1)]
        ended = generous.given(*RUNNING, *many).when(c.RecordCallback(event=DONE))
        assert len(ended.events) == MAX_CLOSED_AT_ONCE + 1
        left = ended.then(*ended.events).state
        assert left.open_questions == (f"q{MAX_CLOSED_AT_ONCE}",)


class TestTodos:
    def test_of_a_snapshot_that_find_no_room_are_left_out_and_the_run_says_so(self):
        outcome = running().when(entry(1, e.TodosReplaced(todos=todos(*range(5)))))
        warned, snapshot = outcome.events
        assert warned.warning.code == "todos_left_out"
        assert warned.warning.message.startswith(
            "2 todos are left out of the run's list, which holds 3 (MAX_TODOS_PER_"
        )
        assert snapshot == e.TodosReplaced(lease_generation=1, todos=todos(0, 1, 2), left_out=2)

    def test_that_the_executor_left_out_count_as_well(self):
        outcome = running().when(entry(1, e.TodosReplaced(todos=todos(*range(5)), left_out=10)))
        assert outcome.events[1].left_out == 12

    def test_of_the_same_id_are_one(self):
        same = e.TodosReplaced(lease_generation=1, todos=todos(1, 1, 1, 1, 1))
        running().when(entry(1, same)).then(same)

    def test_of_updates_that_find_no_room_are_recorded_but_not_listed(self):
        given = running(e.TodosReplaced(lease_generation=1, todos=todos(0, 1, 2)))
        update = e.TodoUpdated(lease_generation=1, todo=todos(3)[0])
        outcome = given.when(entry(2, update))
        assert [type(event) for event in outcome.events] == [e.RunWarning, e.TodoUpdated]
        assert outcome.events[1] == replace(update, left_out=True)
        known = replace(update, todo=replace(todos(1)[0], status="done"))
        given.when(entry(2, known)).then(known)

    def test_are_warned_of_once_per_list(self):
        cut = e.TodosReplaced(lease_generation=1, todos=todos(0, 1, 2), left_out=1)
        running(cut).when(entry(2, e.TodoUpdated(todo=todos(3)[0]))).then_types(e.TodoUpdated)
        whole = replace(cut, left_out=0)
        running(cut, whole).when(entry(3, e.TodoUpdated(todo=todos(3)[0]))).then_types(e.RunWarning, e.TodoUpdated)

    def test_have_a_room_in_bytes_too(self):
        large = todos(1, 2, content="x" * (MAX_TODO_BYTES * 2 // 3))
        first = e.TodoUpdated(lease_generation=1, todo=large[0])
        outcome = generous.given(*RUNNING, first).when(c.RecordCallback(event=e.TodoUpdated(todo=large[1])))
        assert outcome.events[-1].left_out


@pytest.mark.parametrize("quota", ["events_per_run", "of_newer_code"])
def test_every_quota_has_an_error_for_people(quota):
    assert "12" in quota_error(quota, 12, 13).message


def test_a_reply_to_a_run_over_a_quota_is_still_heard():
    given = running(asked(1)).given(over("events_per_run", 3, 4))
    given.when(c.ReplyToQuestion(question_id="q1", answer="x")).then_types(e.HumanLoopReplyAccepted)
    given.when(c.ReplyToQuestion(question_id="no", answer="x"))


def test_a_journal_without_a_quota_has_no_gaps():
    running(SAID).when(entry(5, SAID)).then_error(Conflict, reason="journal_gap")
