"""The commands of a run. Those with a `lease_generation` come from the run worker that holds the lease: ClaimRun brings
a newer generation; any other command is refused (Fenced) unless it has the current one, and the run is not parked."""

from datetime import datetime
from typing import Any, Literal

import msgspec

from domain.event import Event
from domain.run.capabilities import Capabilities
from domain.run.events import ConversationCarried
from domain.run.values import Phase, RunError, RunSpec, WaitsFor, Warn
from domain.workspace.sync import SyncRef


class _Command(msgspec.Struct, frozen=True, kw_only=True):
    pass


class _Leased(_Command, frozen=True, kw_only=True):
    lease_generation: int


class QueueRun(_Command, frozen=True, kw_only=True):
    spec: RunSpec
    capabilities: Capabilities


class BindRun(_Command, frozen=True, kw_only=True):
    """`app_id`, `project_name`, `user_login_name`: the session's, empty for an unknown one."""

    session_id: str
    app_id: str = ""
    project_name: str = ""
    user_login_name: str = ""


class ClaimRun(_Leased, frozen=True, kw_only=True):
    owner: str


class EnterPhase(_Leased, frozen=True, kw_only=True):
    phase: Phase


class ParkRun(_Leased, frozen=True, kw_only=True):
    """The run worker lets go of a run that waits; it is taken up again at `until` at the latest. It changes nothing if
    the run does not wait for that (any more)."""

    waits_for: WaitsFor
    until: datetime


class InheritConversation(_Leased, frozen=True, kw_only=True):
    """The run takes up the conversation of the run that its session was forked from. `warnings`: what is lost."""

    carried: ConversationCarried
    warnings: tuple[Warn, ...] = ()


class StartAgent(_Leased, frozen=True, kw_only=True):
    generation: int
    boot_id: str


class RecordJournalEntry(_Leased, frozen=True, kw_only=True):
    """Entry `n` of the executor's journal of `attempt`."""

    attempt: int
    n: int
    event: Event


class RecordCallback(_Command, frozen=True, kw_only=True):
    """An event from outside the executor. Its event id makes it idempotent, checked by the append, not by the state."""

    event: Event


class FailAttempt(_Leased, frozen=True, kw_only=True):
    """The attempt failed before the agent started, or because its executor is lost. `never_started`: the log says that
    the agent was about to start, but the executor is certain that it did not. `tail_lost`: journal entries were
    lost. `excused`: what it needed is down for everybody, so that the attempt does not count."""

    error: RunError
    retry_at: datetime
    never_started: bool = False
    tail_lost: bool = False
    excused: bool = False


class TimeOutRun(_Leased, frozen=True, kw_only=True):
    """The agent has run, or been silent, for longer than `limit_ms`, by the clock of the run worker."""

    what: Literal["run", "silence"]
    limit_ms: int


class AbortRun(_Command, frozen=True, kw_only=True):
    """End the run's agent: the run fails with `error`. It comes from whoever looks after session workers."""

    error: RunError


class ExceedQuota(_Command, frozen=True, kw_only=True):
    """A quota of the run's session is exceeded (values.py). Whoever notices it may say so, with or without a lease."""

    quota: str
    limit: int
    reached: int


class BeginFinalSync(_Leased, frozen=True, kw_only=True):
    sync_id: str


class RecordExported(_Leased, frozen=True, kw_only=True):
    sync: SyncRef


class FinishRun(_Leased, frozen=True, kw_only=True):
    """`warning`: why the final sync was not recorded; required in that case. `retry_at`: when a next attempt may
    start. `excused`: as in FailAttempt."""

    retry_at: datetime
    warning: Warn | None = None
    excused: bool = False


class RecordLeaseLost(_Command, frozen=True, kw_only=True):
    """The holder of a lease could not renew it: another holder has taken over, or it had run out. It comes from the old
    holder, so it is not fenced."""

    lost_lease_generation: int
    owner: str


class CancelRun(_Command, frozen=True, kw_only=True):
    reason: str = ""


class EndOverdueRun(_Command, frozen=True, kw_only=True):
    """End an external run that is over a limit at `now`: `run_ms` since it was bound, `silence_ms` since its last
    report, not limited while a question is open. 0: no limit."""

    now: datetime
    run_ms: int
    silence_ms: int


class ReplyToQuestion(_Command, frozen=True, kw_only=True):
    question_id: str
    answer: Any


class RecordReplyUndeliverable(_Command, frozen=True, kw_only=True):
    question_id: str
    reason: str


class ExpireQuestion(_Command, frozen=True, kw_only=True):
    question_id: str
    now: datetime


RunCommand = (
    QueueRun
    | BindRun
    | ClaimRun
    | EnterPhase
    | ParkRun
    | InheritConversation
    | StartAgent
    | RecordJournalEntry
    | RecordCallback
    | FailAttempt
    | TimeOutRun
    | AbortRun
    | ExceedQuota
    | BeginFinalSync
    | RecordExported
    | FinishRun
    | RecordLeaseLost
    | CancelRun
    | EndOverdueRun
    | ReplyToQuestion
    | RecordReplyUndeliverable
    | ExpireQuestion
)
