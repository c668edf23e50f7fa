"""The state of a run: its spec, its stage, its questions and its usage."""

from datetime import datetime
from typing import Any, Literal

import msgspec

from domain.run.values import Message, Phase, RunError, RunOutcome, RunSpec, Usage


class _Value(msgspec.Struct, frozen=True, kw_only=True, tag=True, omit_defaults=True):
    """Tagged, so that stored JSON says which stage it holds. The tag is the class's name, and stored in read models:
    give a renamed class its old tag."""


class Queued(_Value, frozen=True, kw_only=True):
    """`available_at`: after a failed attempt, the earliest time of the next one."""

    available_at: datetime | None = None


class Blocked(_Value, frozen=True, kw_only=True):
    reason: str


class Active(_Value, frozen=True, kw_only=True):
    """A run worker executes it. `running`: from just before executor `boot_id` in the container of `generation` is
    asked to start the agent."""

    phase: Literal["claimed", "running"] | Phase = "claimed"
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


class Question(_Value, frozen=True, kw_only=True):
    """Status `answering`: a reply was accepted and is being delivered to the agent. `attempt`: the attempt that asked;
    a later one may ask the same question again. `by_callback`: a callback asked, so the answer is not delivered but
    read by the asker. `asked`: false if its end arrived and its request did not. `reason`: why it was canceled or
    expired.
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


class OutsideRun(_Value, frozen=True, kw_only=True):
    """What an external run has instead of a spec: its session's app, project and user, if known when it was bound.
    `reported_at`: the time of the last report, or answer to it."""

    reported_at: datetime
    app_id: str = ""
    project_name: str = ""
    user_login_name: str = ""


class Run(_Value, frozen=True, kw_only=True):
    """`spec`: None for an external run, which callbacks drive; it has `outside`. `entries`: the number of the attempt's
    journal entries that are recorded. `abort`: why the agent has to end although nobody canceled it. `questions`: by
    question id. `usage`: of the attempts so far.
    """

    session_id: str
    spec: RunSpec | None
    stage: Stage
    attempt: int = 0
    lease_generation: int = 0
    entries: int = 0
    cancel_requested: bool = False
    abort: RunError | None = None
    questions: dict[str, Question] = {}
    usage: Usage = Usage()
    provider_session_id: str = ""
    carried: InheritedConversation | None = None
    outside: OutsideRun | None = None

    @property
    def is_external(self) -> bool:
        return self.spec is None

    def knows_question(self, question_id: str) -> bool:
        """Whether this attempt has asked the question, or an earlier one did and it is still open."""
        question = self.questions.get(question_id)
        if question is None or not question.asked:
            return False
        return question.attempt == self.attempt or question_id in self.open_questions

    @property
    def open_questions(self) -> tuple[str, ...]:
        """The ids of questions that are not answered, or whose answer has not reached the agent yet."""
        return tuple(key for key, question in self.questions.items() if question.status in {"open", "answering"})

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
