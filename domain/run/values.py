"""The values that run events are made of; shapes as in the HTTP API."""

from datetime import datetime
from typing import Any, Literal, TypeVar

import msgspec

RunOutcome = Literal["succeeded", "failed", "canceled"]
TodoStatus = Literal["todo", "doing", "done", "canceled"]
Phase = Literal["restoring", "linking", "preparing"]
RetryPolicy = Literal["transient", "always", "never"]
Priority = Literal["high", "normal", "low"]
PRIORITIES: tuple[Priority, ...] = ("high", "normal", "low")
"""In the order in which queued runs are claimed."""
WaitsFor = Literal["person", "place", "session"]
"""What a parked run waits for: an answer, a worker slot, or its session, which is being brought up or busy."""
QuestionKind = Literal["question", "permission"]
ErrorClass = Literal[
    "environment",  # the worker could not be made ready
    "executor_lost",  # the executor or its container died
    "rate_limited",  # transient provider errors
    "model_unavailable",
    "network",
    "auth_missing",  # final provider errors
    "model_refused",
    "context_exceeded",
    "cli_missing",
    "cli_crashed",
    "protocol",
    "script_failed",
    "bad_input",
    "timeout",
    "human_loop_expired",
    "attempts_exhausted",
    "quota_exceeded",
    "internal",
]
TRANSIENT_ERRORS: frozenset[str] = frozenset({"rate_limited", "model_unavailable", "network"})
"""Temporary errors of the provider, retried even after the agent has started."""
FINAL_ERRORS: frozenset[str] = frozenset({"auth_missing", "bad_input", "cli_missing"})
"""Not retried even before the agent has started; all other errors before that are retried."""


class Wire(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Base of the values: camelCase on the wire, defaults left out."""


class Message(Wire, frozen=True, kw_only=True):
    role: Literal["user", "assistant", "system"]
    content: str


class RunSpec(Wire, frozen=True, kw_only=True):
    """What a caller asked for, with defaults filled in. A second start of the same run id must have an equal spec."""

    session_id: str
    app_id: str = "default"
    project_name: str = "default"
    user_login_name: str
    provider: str
    model: str = ""
    messages: tuple[Message, ...]
    resume_session_id: str = ""
    execution_profile: str = ""
    tools: tuple[str, ...] = ()
    provider_options: dict[str, Any] = {}
    require_human_loop: bool = False
    retry_policy: RetryPolicy = "transient"
    max_attempts: int = 5
    priority: Priority = "normal"


class Warn(Wire, frozen=True, kw_only=True):
    """`code`: a stable snake_case identifier; `message`: text for people."""

    code: str
    message: str


class RunError(Wire, frozen=True, kw_only=True):
    error_class: ErrorClass
    message: str


def unanswered_error(question_id: str) -> RunError:
    message = (
        f"nobody answered question {question_id!r} in time; start the run again when somebody can, "
        "or let its questions have a default answer"
    )
    return RunError(error_class="human_loop_expired", message=message)


def timeout_error(what: str, limit_ms: int) -> RunError:
    did, setting = ("was silent", "RUN_SILENCE_TIMEOUT_MS") if what == "silence" else ("ran", "RUN_TIMEOUT_MS")
    message = f"the agent {did} for more than {limit_ms / 1000:g} s and was ended; {setting} is the limit"
    return RunError(error_class="timeout", message=message)


def silent_outside_error(limit_ms: int) -> RunError:
    message = (
        f"nothing was reported of this external run for more than {limit_ms / 1000:g} s, so it has ended here; "
        "EXTERNAL_RUN_SILENCE_TIMEOUT_MS is the limit"
    )
    return RunError(error_class="timeout", message=message)


QUOTAS: dict[str, str] = {
    "events_per_run": "the run recorded {reached:,} events, and MAX_EVENTS_PER_RUN allows {limit:,}",
    "bytes_per_run": "the run recorded {reached:,} bytes of events, and MAX_MB_PER_RUN allows {limit:,}",
    "events_per_session_hour": "the session's runs recorded {reached:,} events in this hour, and "
    "MAX_EVENTS_PER_SESSION_HOUR allows {limit:,}; runs that start in the next hour are counted anew",
    "bytes_per_session_hour": "the session's runs recorded {reached:,} bytes of events in this hour, and "
    "MAX_MB_PER_SESSION_HOUR allows {limit:,}; runs that start in the next hour are counted anew",
    "open_questions_per_run": "{reached:,} questions were open, and MAX_OPEN_QUESTIONS_PER_RUN allows {limit:,}",
    "questions_per_run": "the run asked {reached:,} questions, and {limit:,} are allowed",
    "bytes_of_question_id": "a question's id has {reached:,} bytes, and {limit:,} are allowed",
    "bytes_of_default_answer": "a question's default answer has {reached:,} bytes of JSON, and {limit:,} are allowed",
    "bytes_of_early_answer": "the end of a question that was not asked yet has {reached:,} bytes of JSON, and "
    "{limit:,} are allowed",
    "bytes_of_early_answers": "the ends of questions that were not asked yet have {reached:,} bytes of JSON in all, "
    "and {limit:,} are allowed",
}
"""What each quota's error says."""


def quota_error(quota: str, limit: int, reached: int) -> RunError:
    text = QUOTAS.get(quota, f"{quota}: {{reached:,}} were reached, and {{limit:,}} are allowed")
    what = text.format(limit=limit, reached=reached)
    message = f"{what}: the agent was ended; let it report less, divide its task into several runs, or raise the limit"
    return RunError(error_class="quota_exceeded", message=message)


class Usage(Wire, frozen=True, kw_only=True):
    """Sums over the attempts of a run; None if no attempt reported the value."""

    input_tokens: int = 0
    output_tokens: int = 0
    cached_input_tokens: int | None = None
    cost_usd: float | None = None

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            input_tokens=self.input_tokens + other.input_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
            cached_input_tokens=_sum(self.cached_input_tokens, other.cached_input_tokens),
            cost_usd=_sum(self.cost_usd, other.cost_usd),
        )


Amount = TypeVar("Amount", int, float)


def _sum(one: Amount | None, other: Amount | None) -> Amount | None:
    if one is None or other is None:
        return other if one is None else one
    return one + other


class Todo(Wire, frozen=True, kw_only=True):
    todo_id: str
    content: str
    status: TodoStatus = "todo"
    order: int = 0
    updated_at: datetime | None = None


class Option(Wire, frozen=True, kw_only=True):
    label: str
    description: str = ""


class OutputRef(Wire, frozen=True, kw_only=True):
    """Output too large for an event, in the object store under `key`. `sha256`: of the content; `size`: in bytes."""

    sha256: str
    size: int
    key: str
