"""The effect ledger as the application sees it: effects are claimed under a lease, performed, and settled."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal, Protocol

import msgspec

from application.command_context import CommandContext
from application.ports.effect_kinds import BEFORE_STOP, LONG_KINDS, LedgerKind, Slot


class ClaimedEffect(msgspec.Struct, frozen=True, kw_only=True):
    """`attempt` counts from 1; `last_attempt`: when this one fails the effect is given up. `wanted_at`: when the
    ledger got it."""

    effect_id: str
    kind: LedgerKind
    params: dict[str, Any]
    attempt: int
    last_attempt: bool
    actor: str
    correlation_id: str
    causation_id: str
    trace_id: str = ""
    wanted_at: datetime | None = None

    @property
    def slot(self) -> Slot:
        """The kind of slot that it is performed in."""
        if self.kind not in LONG_KINDS:
            return "short"
        return "stop" if self.params.get(BEFORE_STOP) else "long"

    def context(self, step: str) -> CommandContext:
        """The context of the command that records `step` of this effect. Its id is the same in each attempt, so that
        the step is recorded once."""
        return CommandContext(
            actor=self.actor,
            command_id=f"{self.effect_id}:{step}",
            correlation_id=self.correlation_id,
            causation_id=self.effect_id,
            trace_id=self.trace_id,
        )


class EffectLease(msgspec.Struct, frozen=True, kw_only=True):
    """The right to perform an effect. `generation` grows with every claim: an older holder can't settle it.
    `taken_from`: the previous holder, if its lease had expired."""

    effect: ClaimedEffect
    generation: int
    taken_from: str = ""


class EffectLedger(Protocol):
    async def claim(self, *, owner: str, free: Mapping[Slot, int], lease: timedelta) -> Sequence[EffectLease]:
        """Claim due effects, at most as many as there are slots `free` of each kind."""
        ...

    async def renew(self, lease: EffectLease, duration: timedelta) -> bool:
        """False if the lease is lost."""
        ...

    async def settle(
        self,
        lease: EffectLease,
        outcome: Literal["done", "obsolete", "failed", "dead"],
        *,
        error: str = "",
        delay: timedelta = timedelta(),
    ) -> None:
        """Record how the attempt ended; after `failed` the effect is due again after `delay`. So is all other long work
        of its key, then."""
        ...

    async def defer(self, lease: EffectLease, *, error: str, delay: timedelta) -> None:
        """Put the effect back: what it needs is down, so this attempt does not count. It is due again after `delay`."""
        ...

    async def free_stale(self) -> Sequence[str]:
        """Free the effects whose lease has run out, so that others can claim them at once. Their ids."""
        ...

    async def release(self, lease: EffectLease) -> None:
        """Give the effect back, to be claimed again at once. Changes nothing if the lease is lost."""
        ...

    async def wait_for_work(self, timeout_s: float) -> None:
        """Return when something may have become due, or after `timeout_s`."""
        ...
