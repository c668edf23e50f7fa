"""What performs an effect, and how it says that it did not."""

from typing import Protocol

from application.ports.effect_ledger import ClaimedEffect


class EffectFailed(Exception):
    """The effect could not be performed now: try again later."""


class EffectObsolete(Exception):
    """The effect is no longer wanted: the session or run has another generation or state by now."""


class EffectHandler(Protocol):
    """Performs an effect. Idempotent: it may be called again after it was done."""

    async def perform(self, effect: ClaimedEffect) -> None:
        """Raises EffectFailed (try again later) or EffectObsolete (nothing is wanted any more)."""
        ...

    async def give_up(self, effect: ClaimedEffect, error: str) -> None:
        """Record that the effect has failed for good."""
        ...
