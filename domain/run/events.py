"""The events of a run, in the order of its life. Wire names are stored data.

`lease_generation`: of the lease under which a run worker wrote the event; older ones are refused (decide.py). Events
that come from the executor's journal have the event id `{runId}/{attempt}/{bootId}/{n}`.
"""

from datetime import datetime
from typing import Any, Literal

import msgspec

from domain.event import Event, upcast, wire
from domain.run.values import (
    Message,
    Option,
    OutputRef,
    Phase,
    QuestionKind,
    RunError,
    RunOutcome,
    RunSpec,
    Todo,
    Usage,
    WaitsFor,
    Warn,
)
from domain.workspace.sync import SyncRef


class LeasedEvent(Event, frozen=True, kw_only=True):
    """An event that a run worker wrote under a lease; 0 if it came from elsewhere (a user's command, a callback)."""

    lease_generation: int = 0


@wire("run.queued")
class RunQueued(Event, frozen=True, kw_only=True):
    spec: RunSpec


@wire("run.bound")
class RunBound(Event, frozen=True, kw_only=True):
    """An external run, driven by callbacks alone, was tied to a session: one of this app, project and user, which are
    empty if the session was not known yet."""

    bound_session_id: str
    app_id: str = ""
    project_name: str = ""
    user_login_name: str = ""


@wire("run.blocked")
class RunBlocked(Event, frozen=True, kw_only=True):
    spec: RunSpec
    capability: str
    reason: str


@wire("run.warning")
class RunWarning(LeasedEvent, frozen=True, kw_only=True):
    warning: Warn


@wire("run.claimed")
class RunClaimed(LeasedEvent, frozen=True, kw_only=True):
    """`resumed`: taken over from another holder, in the same attempt. `was_parked`: nobody held it, since it waited."""

    owner: str
    attempt: int
    resumed: bool = False
    was_parked: WaitsFor | None = None


@wire("run.lease_lost")
class RunLeaseLost(Event, frozen=True, kw_only=True):
    """`owner` could not renew its lease and has stopped executing the run; what it still writes is refused."""

    lost_lease_generation: int
    owner: str


@wire("run.parked")
class RunParked(LeasedEvent, frozen=True, kw_only=True):
    """The run waits, and its run worker has let go of it. Whoever claims it next goes on in the same attempt and
    phase: once what it waits for has come, and at `until` in any case."""

    waits_for: WaitsFor
    until: datetime


@wire("run.retry_scheduled")
class RunRetryScheduled(LeasedEvent, frozen=True, kw_only=True):
    """`excused`: what the attempt needed is down for everybody, so it does not count against maxAttempts."""

    attempt: int
    error: RunError
    available_at: datetime
    excused: bool = False


@wire("run.phase")
class RunPhaseEntered(LeasedEvent, frozen=True, kw_only=True):
    phase: Phase


@wire("run.conversation_carried")
class ConversationCarried(LeasedEvent, frozen=True, kw_only=True):
    """The run continues a conversation of the session that its own was forked from, up to event `origin_seq` of run
    `origin_run_id`. `how`: `resumed`, if the agent resumes its own conversation `resume_session_id`, which was copied
    with the files; `retold`, if it gets the transcript `told` before the run's messages, without `cut` characters."""

    how: Literal["resumed", "retold"]
    origin_run_id: str
    origin_seq: int
    resume_session_id: str = ""
    told: tuple[Message, ...] = ()
    cut: int = 0


@wire("run.started")
class RunStarted(LeasedEvent, frozen=True, kw_only=True):
    """The agent is about to start in this generation of the session's worker."""

    attempt: int
    generation: int
    boot_id: str


@wire("message.delta")
class MessageDelta(LeasedEvent, frozen=True, kw_only=True):
    text: str
    channel: Literal["stdout", "stderr"] = "stdout"


@wire("message.stop")
class MessageStopped(LeasedEvent, frozen=True, kw_only=True):
    """The agent ended a message; an incremental sync is wanted."""

    text: str = ""


@wire("reasoning.delta")
class ReasoningDelta(LeasedEvent, frozen=True, kw_only=True):
    text: str


@wire("tool.start")
class ToolStarted(LeasedEvent, frozen=True, kw_only=True):
    tool_id: str
    name: str
    input: Any = None


@wire("tool.end")
class ToolEnded(LeasedEvent, frozen=True, kw_only=True):
    tool_id: str
    name: str = ""
    output: Any = None
    output_ref: OutputRef | None = None
    ok: bool = True
    duration_ms: int | None = None


@wire("todo.update")
class TodoUpdated(LeasedEvent, frozen=True, kw_only=True):
    """`left_out`: the list had no room for the item, and stays as it was."""

    todo: Todo
    left_out: bool = False


@wire("todo.snapshot")
class TodosReplaced(LeasedEvent, frozen=True, kw_only=True):
    """`left_out`: how many further items the agent's list has."""

    todos: tuple[Todo, ...]
    left_out: int = 0


@wire("human_loop.requested")
class HumanLoopRequested(LeasedEvent, frozen=True, kw_only=True):
    """`timeout_ms`: how long it stays open; then the `default_answer` is given, or, without one, it expires.
    `metadata`: what the asker adds for those who show the question; nothing is decided by it."""

    question_id: str
    kind: QuestionKind = "question"
    prompt: str = ""
    options: tuple[Option, ...] = ()
    default_answer: Any = None
    timeout_ms: int | None = None
    metadata: dict[str, Any] = msgspec.field(default_factory=dict)


@wire("human_loop.reply_accepted")
class HumanLoopReplyAccepted(Event, frozen=True, kw_only=True):
    """The first reply to the question, the one that counts; it is now delivered to the agent."""

    question_id: str
    answer: Any


@wire("human_loop.resolved")
class HumanLoopResolved(LeasedEvent, frozen=True, kw_only=True):
    question_id: str
    answer: Any = None


@wire("human_loop.canceled")
class HumanLoopCanceled(LeasedEvent, frozen=True, kw_only=True):
    question_id: str
    reason: str


@wire("human_loop.expired")
class HumanLoopExpired(LeasedEvent, frozen=True, kw_only=True):
    question_id: str
    reason: str


@wire("run.cancel_requested")
class RunCancelRequested(Event, frozen=True, kw_only=True):
    reason: str = ""


@wire("run.timed_out")
class RunTimedOut(LeasedEvent, frozen=True, kw_only=True):
    """The agent has run, or been silent, for longer than `limit_ms`: it is ended, and the run fails."""

    what: Literal["run", "silence"]
    limit_ms: int


@wire("run.aborted")
class RunAborted(Event, frozen=True, kw_only=True):
    """The agent is ended, and the run fails with this error: its session worker can't go on."""

    error: RunError


@wire("run.quota_exceeded")
class RunQuotaExceeded(LeasedEvent, frozen=True, kw_only=True):
    """The run, or its session, would have `reached` more than its `limit` of a quota: the agent is ended, and the run
    fails. values.py has the quotas."""

    quota: str
    limit: int
    reached: int


@wire("run.tail_lost")
class RunTailLost(LeasedEvent, frozen=True, kw_only=True):
    """The journal's entries after number `recorded_entries` are not recorded: the container is gone, and they with it,
    or the run is over a quota."""

    attempt: int
    recorded_entries: int
    reason: str


@wire("run.agent_finished", version=2)
class RunAgentFinished(LeasedEvent, frozen=True, kw_only=True):
    outcome: RunOutcome
    error: RunError | None = None
    usage: Usage = Usage()
    provider_session_id: str = ""
    exit_code: int | None = None


@wire("run.syncing")
class RunSyncing(LeasedEvent, frozen=True, kw_only=True):
    sync_id: str


@wire("run.exported")
class RunExported(LeasedEvent, frozen=True, kw_only=True):
    sync: SyncRef


@wire("run.finished", version=2)
class RunFinished(LeasedEvent, frozen=True, kw_only=True):
    """The last event of a run, recorded once. `usage` is final: reports sum it up."""

    outcome: RunOutcome
    exported: bool
    error: RunError | None = None
    usage: Usage = Usage()
    provider_session_id: str = ""


upcast("run.agent_finished", from_version=1)(dict)
upcast("run.finished", from_version=1)(dict)
# Version 2 has the error class `quota_exceeded`: code that does not know it leaves the event to newer code.

AGENT_EVENTS: frozenset[type[Event]] = frozenset(
    {
        MessageDelta,
        MessageStopped,
        ReasoningDelta,
        ToolStarted,
        ToolEnded,
        TodoUpdated,
        TodosReplaced,
        HumanLoopRequested,
        HumanLoopResolved,
        HumanLoopCanceled,
        HumanLoopExpired,
        RunWarning,
        RunAgentFinished,
    }
)
"""The events that an executor's journal or a callback may report; the control plane alone records all others."""


@wire("callback.kept")
class CallbackKept(Event, frozen=True, kw_only=True):
    """In the stream `unmatched:{runId}`: a callback for a run that is unknown or has ended. `payload_bytes`: of a
    payload that was too large to be kept, else 0."""

    for_run_id: str
    callback_type: str
    payload: Any = None
    payload_bytes: int = 0
    reason: Literal["unknown_run", "late"]


@wire("callback.unmatched_full")
class UnmatchedFull(Event, frozen=True, kw_only=True):
    """The last event of a stream `unmatched:{runId}`: it has as many callbacks as are kept, and further ones are
    refused."""

    for_run_id: str
    limit: int
