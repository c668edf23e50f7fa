"""The effect ledger as the application sees it: effects are claimed under a lease, performed, and settled."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Literal, Protocol

import msgspec

from application.effects.effect import ClaimedEffect
from application.reactions import EffectKind

# The first effect of an activation is one of these: it waits for a place of MAX_WORKERS and MAX_STARTING.
FIRST_KINDS: tuple[EffectKind, ...] = ("container.create", "container.start")


class EffectLease(msgspec.Struct, frozen=True, kw_only=True):
    """The right to perform an effect. `generation` grows with every claim: an older holder can't settle it.
    `taken_from`: who held it before, when that one's lease had run out."""

    effect: ClaimedEffect
    generation: int
    taken_from: str = ""


class EffectLedger(Protocol):
    async def claim(self, *, owner: str, limit: int, lease: timedelta) -> Sequence[EffectLease]: ...

    async def renew(self, lease: EffectLease, duration: timedelta) -> bool:
        """False when somebody else holds the effect by now."""
        ...

    async def settle(
        self,
        lease: EffectLease,
        outcome: Literal["done", "obsolete", "failed", "dead"],
        *,
        error: str = "",
        delay: timedelta = timedelta(),
    ) -> None:
        """Note how the try ended; `failed`: it becomes due again after `delay`."""
        ...

    async def free_stale(self) -> Sequence[str]:
        """Let others claim at once what is leased by workers that are gone: whose lease has run out. Their ids."""
        ...

    async def release(self, lease: EffectLease) -> None:
        """Give the effect back, to be claimed again at once: its worker ends. A lost lease changes nothing."""
        ...

    async def wait_for_work(self, timeout_s: float) -> None:
        """Return when something may have become due, or after `timeout_s`."""
        ...
