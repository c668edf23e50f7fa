"""The state of a run: what was asked for, and where in its life it is."""

from datetime import datetime
from typing import Any, Literal

import msgspec

from domain.run.values import Message, Outcome, Phase, RunError, RunSpec, Usage


class _Value(msgspec.Struct, frozen=True, kw_only=True, tag=True, omit_defaults=True):
    """Tagged, so that a read model can store a state and find its stage again."""


class Queued(_Value, frozen=True, kw_only=True):
    """`available_at`: not before, after a failed attempt."""

    available_at: datetime | None = None


class Blocked(_Value, frozen=True, kw_only=True):
    reason: str


class Active(_Value, frozen=True, kw_only=True):
    """A worker holds it. `running` once executor `boot_id` of container `generation` was told to start the agent."""

    phase: Literal["claimed", "running"] | Phase = "claimed"
    generation: int = 0
    boot_id: str = ""
    started_at: datetime | None = None


class Finishing(_Value, frozen=True, kw_only=True):
    """The agent has ended; the final sync comes. `exported` once that is recorded. `by_callback`: a callback says so;
    the agent's own processes may still be there."""

    outcome: Outcome
    error: RunError | None
    sync_id: str = ""
    exported: bool = False
    by_callback: bool = False


class Finished(_Value, frozen=True, kw_only=True):
    outcome: Outcome
    exported: bool
    error: RunError | None


Stage = Queued | Blocked | Active | Finishing | Finished


class Question(_Value, frozen=True, kw_only=True):
    """`answering`: a reply was accepted and is on its way into the agent. `attempt`: the one that asked; a later one
    may ask the same again. `by_callback`: its asker learns the answer from us, nobody here can bring it. `asked` is
    false when its end was reported before its request was. `reason`: why it was canceled or expired.
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


class CarriedConversation(_Value, frozen=True, kw_only=True):
    """What the agent begins with: its own conversation to resume, or what it is told before the run's messages; up to
    event `origin_seq` of run `origin_run_id`, from which the session was forked."""

    origin_run_id: str
    origin_seq: int
    resume_session_id: str = ""
    told: tuple[Message, ...] = ()


class Run(_Value, frozen=True, kw_only=True):
    """`spec` is None for an outside run, which callbacks drive. `entries` counts the recorded journal entries of this
    attempt. `abort`: why the agent must end although nobody canceled it. `questions` by question id. `usage` sums up
    the attempts so far.
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
    carried: CarriedConversation | None = None

    @property
    def outside(self) -> bool:
        return self.spec is None

    def knows_question(self, question_id: str) -> bool:
        """Whether this attempt has asked it, or an earlier one's is still open."""
        question = self.questions.get(question_id)
        if question is None or not question.asked:
            return False
        return question.attempt == self.attempt or question_id in self.open_questions

    @property
    def open_questions(self) -> tuple[str, ...]:
        """Questions that nobody has answered, or whose answer has not arrived yet."""
        return tuple(key for key, question in self.questions.items() if question.status in {"open", "answering"})

    @property
    def public_state(self) -> str:
        """The state as SPEC §3 names it."""
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
