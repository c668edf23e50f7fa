"""A wanted effect as its handler gets it, and how a handler says that it failed."""

from datetime import timedelta
from typing import Any, Protocol

import msgspec

from application.command_context import CommandContext
from application.reactions import EffectKind


class ClaimedEffect(msgspec.Struct, frozen=True, kw_only=True):
    """`attempt` counts from 1; `last_attempt`: when this one fails the effect is given up."""

    effect_id: str
    kind: EffectKind
    params: dict[str, Any]
    attempt: int
    last_attempt: bool
    actor: str
    correlation_id: str
    causation_id: str
    trace_id: str = ""

    def context(self, step: str) -> CommandContext:
        """The context of the command that records `step` of this effect: done twice, it is recorded once."""
        return CommandContext(
            actor=self.actor,
            command_id=f"{self.effect_id}:{step}",
            correlation_id=self.correlation_id,
            causation_id=self.effect_id,
            trace_id=self.trace_id,
        )


class EffectHandler(Protocol):
    """Performs an effect. Idempotent: it may be called again after it was done."""

    async def perform(self, effect: ClaimedEffect) -> None:
        """Raises EffectFailed (try again later) or EffectObsolete (nothing is wanted any more)."""
        ...

    async def give_up(self, effect: ClaimedEffect, error: str) -> None:
        """Record that the effect has failed for good."""
        ...


class EffectFailed(Exception):
    """The effect could not be performed now."""


class EffectObsolete(Exception):
    """What wanted the effect has passed: another generation, another state."""


class RetrySchedule(msgspec.Struct, frozen=True, kw_only=True):
    """`delay` grows twofold with each attempt, up to `longest`."""

    max_attempts: int
    first_delay: timedelta
    longest: timedelta = timedelta(minutes=1)

    def delay(self, attempt: int) -> timedelta:
        grown: timedelta = self.first_delay * 2 ** min(attempt - 1, 16)
        return min(grown, self.longest)


_QUICK = RetrySchedule(max_attempts=5, first_delay=timedelta(milliseconds=500))
_PATIENT = RetrySchedule(max_attempts=10, first_delay=timedelta(seconds=5))
_STUBBORN = RetrySchedule(max_attempts=1000, first_delay=timedelta(seconds=1))
RETRY_SCHEDULES: dict[EffectKind, RetrySchedule] = {
    "container.create": _QUICK,
    "container.start": _QUICK,
    "container.start_maintenance": _QUICK,
    "container.stop": _STUBBORN,
    "container.remove": _STUBBORN,
    "workspace.restore": _QUICK,
    "workspace.sync": _QUICK,
    "workspace.sync_before_remove": _QUICK,
    "workspace.validate": _QUICK,
    "workspace.collect": _PATIENT,
    "workspace.copy": _QUICK,
    "agent_data.link": _QUICK,
    "session.request_sync": _STUBBORN,
    "session.detach_run": _STUBBORN,
    "human_loop.deliver_reply": _QUICK,
}
