"""The rules of a run's log, read off its events alone: written without the domain's own state, to judge it."""

from collections.abc import Sequence

from domain.event import Event
from domain.record import NewEvent
from domain.run import events as e

OPEN, CLOSED, TOLD_EARLY = "open", "closed", "told before it was asked"


class _Reader:
    def __init__(self, max_attempts: int) -> None:
        self.max_attempts = max_attempts
        self.lease = self.attempt = 0
        self.steps: list[str] = []  # of the end of the present attempt
        self.started: set[int] = set()
        self.questions: dict[str, str] = {}
        self.cancel_requested = self.outside = False
        self.entries: dict[int, list[int]] = {}
        self.ended = self.warned = self.parked = self.over_quota = False

    def read(self, new: NewEvent) -> None:
        event = new.event
        assert not self.ended, f"{event} after the end"
        if self.over_quota and "agent" not in self.steps:
            its_end = isinstance(event, e.RunAgentFinished | e.HumanLoopExpired | e.HumanLoopCanceled)
            of_agent = isinstance(event, e.LeasedEvent) and type(event) in e.AGENT_EVENTS and event.lease_generation
            assert its_end or not of_agent, f"{event} over a quota"
        if isinstance(event, e.LeasedEvent) and event.lease_generation:
            if isinstance(event, e.RunClaimed):
                assert event.lease_generation > self.lease, "claimed under an old lease"
                self.lease = event.lease_generation
            assert event.lease_generation == self.lease, f"{event} is not fenced"
        journal = new.event_id.split("/")
        if journal[0] == "r1" and len(journal) == 4:
            self.entries.setdefault(int(journal[1]), []).append(int(journal[3]))
            assert int(journal[1]) == self.attempt, "an entry of another attempt"
        self.read_life(event)
        self.warned = isinstance(event, e.RunWarning)
        self.read_questions(event)

    def read_life(self, event: Event) -> None:
        match event:
            case e.RunBound():
                self.outside = True
            case e.RunClaimed(attempt=attempt, resumed=resumed):
                assert attempt == (max(self.attempt, 1) if resumed else self.attempt + 1)
                assert resumed or not self.parked, "a parked run lost its attempt"
                self.parked = False
                assert self.outside or attempt <= self.max_attempts, "beyond the cap"
                self.attempt = attempt
                if not resumed:
                    self.steps = []
            case e.RunParked(waits_for=waits_for):
                assert not self.parked, "parked twice"
                assert not self.cancel_requested, "parked, and canceled"
                assert self.steps == [], "parked, and its agent has ended"
                asked = OPEN in self.questions.values()
                assert (waits_for == "person") == (self.attempt in self.started), waits_for
                assert asked or waits_for != "person", "parked for an answer, and nothing is asked"
                self.parked = True
            case e.RunStarted(attempt=attempt):
                assert not self.parked, "an agent started while nobody held its run"
                assert attempt == self.attempt
                assert attempt not in self.started, "an agent started twice in one attempt"
                assert not self.cancel_requested, "an agent started after the cancel"
                self.started.add(attempt)
            case e.RunCancelRequested():
                assert not self.cancel_requested
                self.cancel_requested = True
            case e.RunQuotaExceeded():
                assert not self.over_quota, "over a quota twice"
                self.over_quota = True
            case e.RunAgentFinished(outcome=outcome):
                assert self.steps == []
                assert outcome == "failed" or not self.over_quota, "over a quota, and it did not fail"
                self.steps.append("agent")
                self.parked = False
            case e.RunSyncing():
                assert self.steps == ["agent"]
                self.steps.append("syncing")
            case e.RunExported():
                assert self.steps == ["agent", "syncing"]
                self.steps.append("exported")
            case e.RunRetryScheduled():
                assert not self.cancel_requested, "a canceled run is tried again"
                assert not self.over_quota, "a run over a quota is tried again"
                assert self.attempt < self.max_attempts
                self.steps, self.parked = [], False
            case e.RunFinished(exported=exported, outcome=outcome):
                assert exported == (self.steps[-1:] == ["exported"])
                assert exported or self.warned or "agent" not in self.steps, "not exported, and nobody is told"
                assert (outcome == "canceled") >= self.cancel_requested
                assert OPEN not in self.questions.values(), "an open question in a finished run"
                self.ended = True

    def read_questions(self, event: Event) -> None:
        match event:
            case e.HumanLoopRequested(question_id=key):
                assert self.questions.get(key) != OPEN, "asked twice"
                self.questions[key] = OPEN
            case e.HumanLoopReplyAccepted(question_id=key):
                assert self.questions[key] == OPEN
            case e.HumanLoopResolved(question_id=key) | e.HumanLoopCanceled(question_id=key):
                self.close_question(key, event)
            case e.HumanLoopExpired(question_id=key):
                self.close_question(key, event)

    def close_question(self, key: str, event: e.LeasedEvent) -> None:
        known = self.questions.get(key)
        if known is None:
            assert event.lease_generation == 0, "closed by a worker, and never asked"
        else:
            assert known == OPEN, "closed twice"
        self.questions[key] = TOLD_EARLY if known is None else CLOSED


def check_log(log: Sequence[NewEvent], *, max_attempts: int) -> None:
    """Raises AssertionError where a log breaks a rule of a run's stream (docs/explanation/life-of-a-run.md)."""
    reader = _Reader(max_attempts)
    for new in log:
        reader.read(new)
    for attempt, numbers in reader.entries.items():
        if reader.over_quota:
            assert numbers == sorted(set(numbers)), f"entries of attempt {attempt} doubled: {numbers}"
            continue
        assert numbers == list(range(1, len(numbers) + 1)), f"entries of attempt {attempt} lost or doubled: {numbers}"
