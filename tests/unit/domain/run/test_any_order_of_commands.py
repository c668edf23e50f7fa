"""Whatever comes in whatever order: a run ends once, asks once, starts once per attempt, and its log tells it all."""

from datetime import timedelta

import pytest
from hypothesis import seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from msgspec.structs import replace

from domain.run import commands as c
from domain.run import events as e
from domain.run.decide import decide
from domain.run.evolve import evolve, journal_event_id
from domain.run.state import Active, Finished, Finishing, Queued, Run
from domain.run.values import Warn
from tests.support.event_strategies import any_event
from tests.support.live_aggregate import LiveAggregate
from tests.support.runs import EXPORTED_TO, QUEUE, SPEC, error
from tests.support.samples import samples
from tests.support.specification import T0, minutes
from tests.unit.domain.run.log_rules import check_log

pytestmark = pytest.mark.timeout(400)  # a failure is shrunk before it is shown

QUESTIONS = st.sampled_from(["q1", "q2"])
AHEAD = st.sampled_from([0, 0, 0, 0, -1, 1])  # of the lease that a worker holds: mostly the present one
CLASSES = st.sampled_from(["network", "environment", "executor_lost", "script_failed", "auth_missing"])
OUTCOMES = st.sampled_from(["succeeded", "failed", "canceled"])
WARNINGS = st.sampled_from([None, Warn(code="export_failed", message="x")])
ASKED = st.builds(
    e.HumanLoopRequested,
    question_id=QUESTIONS,
    timeout_ms=st.sampled_from([None, 5000]),
    default_answer=st.sampled_from([None, "no"]),
)
DONE = st.builds(
    e.RunAgentFinished, outcome=OUTCOMES, error=st.none() | CLASSES.map(error), lease_generation=st.integers(0, 9)
)
REPORTED = st.one_of(
    ASKED,
    ASKED,
    DONE,
    st.builds(e.HumanLoopResolved, question_id=QUESTIONS),
    st.builds(e.HumanLoopExpired, question_id=QUESTIONS, reason=st.sampled_from(["timeout", "x"])),
    any_event(e.MessageDelta, e.MessageStopped, e.ToolStarted, e.ToolEnded, e.TodoUpdated, e.TodosReplaced),
    any_event(e.RunFinished, e.RunClaimed, e.RunStarted),  # none of these is an agent's to report
)
NOT_IDEMPOTENT = (c.RecordCallback, c.RecordJournalEntry)  # these are made so by their event ids


class AnyOrderOfCommands(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.run: LiveAggregate[Run] = LiveAggregate(decide, evolve)
        self.reports: list[object] = []

    @initialize(
        outside=st.sampled_from([False, False, False, True]),
        policy=st.sampled_from(["transient", "always", "never"]),
        cap=st.integers(1, 3),
        steps=st.sampled_from([2, 2, 2, 0, 1]),
    )
    def begin(self, outside, policy, cap, steps):
        self.spec = replace(SPEC, retry_policy=policy, max_attempts=cap)
        self.send(c.BindRun(session_id="s1") if outside else replace(QUEUE, spec=self.spec))
        for _ in range(0 if outside else steps):
            self.all_goes_well_once()

    def send(self, command: object, event_id: str = "") -> None:
        self.reports.append(command)
        finished = isinstance(self.run.state, Run) and isinstance(self.state.stage, Finished)
        new = self.run.send(command, event_id)
        assert not (finished and new), "something happened after the end"
        if not isinstance(command, NOT_IDEMPOTENT):
            self.run.assert_repeat_changes_nothing(command)

    @property
    def state(self) -> Run:
        assert self.run.state is not None
        return self.run.state

    def lease(self, ahead: int) -> int:
        return max(self.state.lease_generation + ahead, 0)

    @rule(model=st.sampled_from(["", "other"]))
    def queue(self, model):
        self.send(replace(QUEUE, spec=replace(self.spec, model=model)))

    @rule(session_id=st.sampled_from(["s1", "s2"]))
    def bind(self, session_id):
        self.send(c.BindRun(session_id=session_id))

    @rule(silence_ms=st.sampled_from([0, 1]), run_ms=st.sampled_from([0, 1]))
    def end_overdue(self, silence_ms, run_ms):
        self.send(c.EndOverdueRun(now=T0 + minutes(1), run_ms=run_ms, silence_ms=silence_ms))

    @rule(ahead=st.sampled_from([1, 1, 2, 0, -1]))
    def claim(self, ahead):
        self.send(c.ClaimRun(lease_generation=self.lease(ahead), owner="w"))

    @rule(ahead=AHEAD, phase=st.sampled_from(["restoring", "linking", "preparing"]))
    def enter_phase(self, ahead, phase):
        self.send(c.EnterPhase(lease_generation=self.lease(ahead), phase=phase))

    @rule(ahead=AHEAD)
    def start_agent(self, ahead):
        self.send(c.StartAgent(lease_generation=self.lease(ahead), generation=1, boot_id="b1"))

    @rule(ahead=AHEAD, off=st.sampled_from([0, 0, 0, 0, -1, 1]), event=REPORTED, attempt=st.sampled_from([0, 0, 0, -1]))
    def journal_entry(self, ahead, off, event, attempt):
        n, attempt = max(self.state.entries + 1 + off, 1), self.state.attempt + attempt
        command = c.RecordJournalEntry(lease_generation=self.lease(ahead), attempt=attempt, n=n, event=event)
        self.send(command, journal_event_id("r1", attempt, "b1", n))

    @rule(event=REPORTED, forged=st.booleans())
    def callback(self, event, forged):
        number = len(self.run.log)
        self.send(c.RecordCallback(event=event), f"cb/{self.state.attempt}/x/{number}" if forged else f"cb/{number}")

    @rule(ahead=AHEAD, error_class=CLASSES, tail_lost=st.booleans())
    def attempt_fails(self, ahead, error_class, tail_lost):
        self.send(
            c.FailAttempt(
                lease_generation=self.lease(ahead),
                error=error(error_class),
                retry_at=self.run.now,
                tail_lost=tail_lost,
            )
        )

    @rule(ahead=AHEAD)
    def begin_final_sync(self, ahead):
        self.send(c.BeginFinalSync(lease_generation=self.lease(ahead), sync_id="final"))

    @rule(ahead=AHEAD)
    def exported(self, ahead):
        self.send(c.RecordExported(lease_generation=self.lease(ahead), sync=EXPORTED_TO))

    @rule(ahead=AHEAD, warning=WARNINGS)
    def finish(self, ahead, warning):
        self.send(c.FinishRun(lease_generation=self.lease(ahead), retry_at=self.run.now, warning=warning))

    @rule(really=st.sampled_from([False, False, False, True]))
    def session_over_quota(self, really):
        if really:
            self.send(c.ExceedQuota(quota="events_per_session_hour", limit=1, reached=2))

    @rule(really=st.sampled_from([False, False, False, True]))
    def cancel(self, really):
        if really:
            self.send(c.CancelRun(reason="x"))

    @rule(question_id=QUESTIONS, answer=st.sampled_from(["yes", None]))
    def reply(self, question_id, answer):
        self.send(c.ReplyToQuestion(question_id=question_id, answer=answer))

    @rule(question_id=QUESTIONS)
    def reply_does_not_arrive(self, question_id):
        self.send(c.RecordReplyUndeliverable(question_id=question_id, reason="gone"))

    @rule(ahead=AHEAD, waits_for=st.sampled_from(["person", "place", "session"]))
    def park(self, ahead, waits_for):
        self.send(c.ParkRun(lease_generation=self.lease(ahead), waits_for=waits_for, until=self.run.now))

    @rule(lost=st.integers(1, 3))
    def lease_is_lost(self, lost):
        self.send(c.RecordLeaseLost(lost_lease_generation=lost, owner="w"))

    @rule(question_id=QUESTIONS, later_s=st.sampled_from([0, 10]))
    def expire(self, question_id, later_s):
        self.send(c.ExpireQuestion(question_id=question_id, now=self.run.now + timedelta(seconds=later_s)))

    @precondition(lambda self: self.reports)
    @rule(data=st.data())
    def an_old_report_again(self, data):
        command = data.draw(st.sampled_from(self.reports))
        if not isinstance(command, NOT_IDEMPOTENT):
            self.send(command)

    @rule(steps=st.integers(1, 4))
    def all_goes_well(self, steps):
        for _ in range(steps):
            self.all_goes_well_once()

    def all_goes_well_once(self) -> None:
        lease = self.state.lease_generation
        match self.state.stage:
            case Queued():
                self.claim(1)
            case Active(phase="running"):
                self.journal_entry(0, 0, e.RunAgentFinished(outcome="succeeded"), 0)
            case Active():
                self.start_agent(0)
            case Finishing(sync_id=""):
                self.begin_final_sync(0)
            case Finishing(exported=False):
                self.exported(0)
            case Finishing() if lease:
                self.finish(0, None)

    @invariant()
    def the_public_state_is_always_known(self):
        if self.run.state is not None:
            assert self.state.public_state

    def teardown(self):
        self.run.check_history()
        check_log(self.run.log, max_attempts=self.spec.max_attempts)


TestAnyOrderOfCommands = AnyOrderOfCommands.TestCase
TestAnyOrderOfCommands.settings = settings(
    max_examples=samples().size(whole=400, sample=120), stateful_step_count=50, deadline=None, derandomize=True
)


@pytest.mark.proof
def test_any_order_of_commands_at_length():
    examples = samples().size(whole=1500, sample=250)
    run_state_machine_as_test(
        seed(samples().number("any order of run commands"))(AnyOrderOfCommands),
        settings=settings(max_examples=examples, stateful_step_count=60, deadline=None, database=None),
    )
