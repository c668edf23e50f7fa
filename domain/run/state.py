"""The state of a run: its spec, its stage, its questions and its usage."""

from datetime import datetime
from typing import Any, Literal

import msgspec

from domain.leveled import Levels, entry
from domain.run.values import Message, Phase, RunError, RunOutcome, RunSpec, Usage, WaitsFor


class _Value(msgspec.Struct, frozen=True, kw_only=True, tag=True, omit_defaults=True):
    """Tagged, so that stored JSON says which stage it holds. The tag is the class's name, and stored in read models:
    give a renamed class its old tag."""


class Queued(_Value, frozen=True, kw_only=True):
    """`available_at`: after a failed attempt, the earliest time of the next one."""

    available_at: datetime | None = None


class Blocked(_Value, frozen=True, kw_only=True):
    reason: str


class Active(_Value, frozen=True, kw_only=True):
    """A run worker executes it, or none does while it is `parked`. `running`: from just before executor `boot_id` in
    the container of `generation` is asked to start the agent."""

    phase: Literal["claimed", "running"] | Phase = "claimed"
    parked: WaitsFor | None = None
    generation: int = 0
    boot_id: str = ""
    started_at: datetime | None = None


class Finishing(_Value, frozen=True, kw_only=True):
    """The agent has ended; the final sync follows. `exported`: it is recorded. `by_callback`: a callback reported the
    end, so the agent's processes may still be running."""

    outcome: RunOutcome
    error: RunError | None
    sync_id: str = ""
    exported: bool = False
    by_callback: bool = False


class Finished(_Value, frozen=True, kw_only=True):
    outcome: RunOutcome
    exported: bool
    error: RunError | None


Stage = Queued | Blocked | Active | Finishing | Finished


MAX_REMEMBERED_BYTES = 1024
"""Of the answer of a closed question, as JSON, and of the reason for its end: the state holds thousands."""


class Question(_Value, frozen=True, kw_only=True):
    """Status `answering`: a reply was accepted and is being delivered to the agent. `attempt`: the attempt that asked;
    a later one may ask the same question again. `by_callback`: a callback asked, so the answer is not delivered but
    read by the asker. `asked`: false if its end arrived and its request did not. `answer`: None for a large one of a
    closed question. `reason`: why it was canceled or expired.
    """

    status: Literal["open", "answering", "resolved", "canceled", "expired"]
    requested_at: datetime
    attempt: int = 0
    timeout_ms: int | None = None
    default_answer: Any = None
    answer: Any = None
    by_callback: bool = False
    asked: bool = True
    reason: str = ""


class InheritedConversation(_Value, frozen=True, kw_only=True, tag="CarriedConversation"):
    """The conversation that a run in a forked session continues, up to event `origin_seq` of run `origin_run_id`: the
    agent's own one, to be resumed, or `told`, messages for the agent before those of the run."""

    origin_run_id: str
    origin_seq: int
    resume_session_id: str = ""
    told: tuple[Message, ...] = ()


class Recorded(_Value, frozen=True, kw_only=True):
    """What agents and callbacks have reported so far, as far as quotas need it (quotas.py). `bytes`: of payloads.
    `early_bytes`: of the ends of questions that came before their requests, which the state keeps whole for these.
    `todos`: the bytes of each item of the list; `todos_cut`: it lacks some."""

    events: int = 0
    bytes: int = 0
    questions: int = 0
    early_bytes: int = 0
    todos: dict[str, int] = {}
    todos_cut: bool = False


class OutsideRun(_Value, frozen=True, kw_only=True):
    """What an external run has instead of a spec: its session's app, project and user, if known when it was bound.
    `reported_at`: the time of the last report, or answer to it."""

    reported_at: datetime
    app_id: str = ""
    project_name: str = ""
    user_login_name: str = ""


class Run(_Value, frozen=True, kw_only=True):
    """`spec`: None for an external run, which callbacks drive; it has `outside`. `entries`: the number of the attempt's
    journal entries that are recorded. `abort`: why the agent has to end although nobody canceled it. `questions`: the
    open ones, by question id. `closed_questions`: those that have ended. `usage`: of the attempts so far. `excused`:
    how many of them do not count.
    """

    session_id: str
    spec: RunSpec | None
    stage: Stage
    attempt: int = 0
    excused: int = 0
    lease_generation: int = 0
    entries: int = 0
    cancel_requested: bool = False
    abort: RunError | None = None
    questions: dict[str, Question] = {}
    closed_questions: Levels[Question] = ()
    usage: Usage = Usage()
    recorded: Recorded = Recorded()
    provider_session_id: str = ""
    carried: InheritedConversation | None = None
    outside: OutsideRun | None = None

    @property
    def counted_attempts(self) -> int:
        """The present attempt's number among those that count."""
        return self.attempt - self.excused

    @property
    def is_external(self) -> bool:
        return self.spec is None

    @property
    def over_quota(self) -> bool:
        """Whether a quota ends the run: nothing more of its agent is recorded but its end."""
        return self.abort is not None and self.abort.error_class == "quota_exceeded"

    def question(self, question_id: str) -> Question | None:
        """The question of this id, open or closed."""
        return self.questions.get(question_id) or entry(self.closed_questions, question_id)

    def knows_question(self, question_id: str) -> bool:
        """Whether this attempt has asked the question, or an earlier one did and it is still open."""
        if question_id in self.questions:
            return True
        question = self.question(question_id)
        return question is not None and question.asked and question.attempt == self.attempt

    @property
    def open_questions(self) -> tuple[str, ...]:
        """The ids of questions that are not answered, or whose answer has not reached the agent yet."""
        return tuple(self.questions)

    @property
    def waits_for_a_person(self) -> bool:
        """Whether its agent may do nothing until a person answers: each open question still waits for its answer."""
        waiting = [self.questions[key].status == "open" for key in self.open_questions]
        return bool(waiting) and all(waiting)

    @property
    def is_parked(self) -> bool:
        """Whether nobody executes it until what it waits for is there."""
        return isinstance(self.stage, Active) and self.stage.parked is not None

    def may_park(self, waits_for: WaitsFor) -> bool:
        """Whether its run worker may leave it until then: nothing else is to be done for it."""
        if not isinstance(self.stage, Active) or self.is_parked or self.cancel_requested or self.abort is not None:
            return False
        if self.stage.phase == "running":
            return waits_for == "person" and self.waits_for_a_person
        return waits_for != "person"

    @property
    def public_state(self) -> str:
        """The `state` of the run in the API."""
        match self.stage:
            case Queued():
                return "queued"
            case Blocked():
                return "blocked"
            case Active(phase="running"):
                return "waiting_human" if self.open_questions else "running"
            case Active(phase=phase):
                return phase
            case Finishing(exported=True):
                return "exported"
            case Finishing(sync_id=sync_id):
                return "syncing" if sync_id else "running"
            case Finished(outcome=outcome):
                return outcome
