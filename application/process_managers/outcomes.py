"""What comes of an event for a process manager: commands to aggregates, wanted effects on the outside world, and
changes of the run queue and of the worker slots.

Commands are sent before the process manager's checkpoint moves past their event; all else is recorded in the
transaction that moves it. Ids derive from the event, so that a page can be processed again.
"""

from datetime import datetime, timedelta
from typing import Any, Literal

import msgspec

from application.ports.effect_kinds import EffectKind
from domain.record import RecordedEvent
from domain.run.queue_share import QueueShare
from domain.run.values import WaitsFor
from domain.session.commands import AttachRun, DetachRun, RequestSync


class SendToSession(msgspec.Struct, frozen=True, kw_only=True):
    """A command to the session of a run. `command_id` derives from the event: sent again, it changes nothing."""

    command_id: str
    run_id: str
    command: AttachRun | DetachRun | RequestSync


class RunDetached(msgspec.Struct, frozen=True, kw_only=True):
    """The session has detached the run: a `DetachRun` that an earlier event of the same page led to is not sent."""

    run_id: str


class WantedEffect(msgspec.Struct, frozen=True, kw_only=True):
    """`effect_id` derives from the event that wants it. Effects of one `key`, the stream of that event, are
    performed one at a time, oldest first; one that waits for its next try lets the others pass. `delay`: until it is
    due, since the run worker is about to do the same."""

    effect_id: str
    kind: EffectKind
    key: str
    params: dict[str, Any]
    delay: timedelta = timedelta()


def wanted_effect(
    recorded: RecordedEvent, kind: EffectKind, *, delay: timedelta = timedelta(), **params: Any
) -> WantedEffect:
    """The one effect of a kind that an event leads to."""
    return WantedEffect(
        effect_id=f"{kind}/{recorded.stream}/{recorded.seq}",
        kind=kind,
        key=recorded.stream,
        params=params,
        delay=delay,
    )


class EffectNotNeeded(msgspec.Struct, frozen=True, kw_only=True):
    """Cancels pending effects of this kind and key that were wanted before this event: their goal is reached.
    `sync_id`: of syncs, only that one."""

    kind: EffectKind
    key: str
    sync_id: str = ""


class EnqueueRun(msgspec.Struct, frozen=True, kw_only=True):
    """Runs of the same `session_id` are claimed one at a time, in the order of the log."""

    run_id: str
    session_id: str
    max_attempts: int
    share: QueueShare


class EnqueueFinish(msgspec.Struct, frozen=True, kw_only=True):
    """The agent of an external run has ended: a run worker has to sync its workspace and finish it."""

    run_id: str


class PostponeRun(msgspec.Struct, frozen=True, kw_only=True):
    run_id: str
    available_at: datetime


class ParkRun(msgspec.Struct, frozen=True, kw_only=True):
    """Who held the run's lease of this generation has let go of it: nobody claims it until it is woken, or `until`."""

    run_id: str
    lease_generation: int
    waits_for: WaitsFor
    until: datetime


class WakeRun(msgspec.Struct, frozen=True, kw_only=True):
    """What a run may wait for has come: if it is parked it is to be claimed again. `ends`: because it is to be ended,
    which takes a moment, and must not wait until others have ended."""

    run_id: str
    ends: bool = False


class WakeRunsOf(msgspec.Struct, frozen=True, kw_only=True):
    """A session can take a run, or never will: its parked runs are to be claimed again."""

    session_id: str


class DequeueRun(msgspec.Struct, frozen=True, kw_only=True):
    run_id: str


class MoveWorkerSlot(msgspec.Struct, frozen=True, kw_only=True):
    """A session worker asks for one of the MAX_WORKERS slots (`wanted`), has ended its start (`up`; MAX_STARTING counts
    those that have not), or gives its slot back (`free`). Maintenance needs none. `key`: the session's stream."""

    key: str
    to: Literal["wanted", "up", "free"]


class RetryDeadEffect(msgspec.Struct, frozen=True, kw_only=True):
    effect_id: str


class DropDeadEffect(msgspec.Struct, frozen=True, kw_only=True):
    effect_id: str


class WakeRunWorkers(msgspec.Struct, frozen=True, kw_only=True):
    """The queue was resumed. Whether it is paused, each claim reads from the log."""


Outcome = (
    SendToSession
    | RunDetached
    | MoveWorkerSlot
    | WantedEffect
    | EffectNotNeeded
    | EnqueueRun
    | EnqueueFinish
    | PostponeRun
    | ParkRun
    | WakeRun
    | WakeRunsOf
    | DequeueRun
    | RetryDeadEffect
    | DropDeadEffect
    | WakeRunWorkers
)
