"""What a process manager may want: effects on the outside world, and changes of the run queue and of workers' places.

Reactions are recorded in the transaction that moves the process managers' checkpoint; their ids make them repeatable.
"""

from datetime import datetime, timedelta
from typing import Any, Literal

import msgspec

EffectKind = Literal[
    "container.create",
    "container.start",
    "container.start_maintenance",
    "container.stop",
    "container.remove",
    "workspace.restore",
    "workspace.sync",
    "workspace.sync_before_remove",
    "workspace.validate",
    "workspace.collect",
    "workspace.copy",
    "agent_data.link",
    "session.request_sync",
    "session.detach_run",
    "human_loop.deliver_reply",
]


class WantedEffect(msgspec.Struct, frozen=True, kw_only=True):
    """`effect_id` derives from the event that wants it. Effects of one `lane` run one at a time, oldest first; one that
    waits for its next try lets others pass. `delay`: it is not due before; somebody else is about to do it."""

    effect_id: str
    kind: EffectKind
    lane: str
    params: dict[str, Any]
    delay: timedelta = timedelta()


class EffectNotNeeded(msgspec.Struct, frozen=True, kw_only=True):
    """What the effects of this kind and lane were wanted for, before this event, has come about: none of them needs to
    begin any more. `sync_id`: of syncs, only that one."""

    kind: EffectKind
    lane: str
    sync_id: str = ""


class EnqueueRun(msgspec.Struct, frozen=True, kw_only=True):
    """`session_id`: its runs go one at a time, in the order of the log."""

    run_id: str
    session_id: str
    max_attempts: int


class EnqueueFinish(msgspec.Struct, frozen=True, kw_only=True):
    """An outside run has ended: somebody must see it through to its end."""

    run_id: str


class PostponeRun(msgspec.Struct, frozen=True, kw_only=True):
    run_id: str
    available_at: datetime


class DequeueRun(msgspec.Struct, frozen=True, kw_only=True):
    run_id: str


class MoveWorkerPlace(msgspec.Struct, frozen=True, kw_only=True):
    """A session waits for one of the places of MAX_WORKERS (`wanted`), has done with its start (`up`), or leaves its
    place (`free`). The worker in maintenance has none."""

    lane: str
    to: Literal["wanted", "up", "free"]


class RetryDeadEffect(msgspec.Struct, frozen=True, kw_only=True):
    effect_id: str


class DropDeadEffect(msgspec.Struct, frozen=True, kw_only=True):
    effect_id: str


class LookAtQueue(msgspec.Struct, frozen=True, kw_only=True):
    """The queue was resumed: whoever claims runs should look again. Claims read the switch from the log themselves."""


Reaction = (
    MoveWorkerPlace
    | WantedEffect
    | EffectNotNeeded
    | EnqueueRun
    | EnqueueFinish
    | PostponeRun
    | DequeueRun
    | RetryDeadEffect
    | DropDeadEffect
    | LookAtQueue
)
