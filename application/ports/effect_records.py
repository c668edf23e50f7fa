"""The effect ledger, as operators read it."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal, Protocol

import msgspec

EffectState = Literal["ready", "leased", "done", "obsolete", "dead", "dropped"]


class EffectTry(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """`outcome`: started (still under way), done, obsolete, failed, dead, interrupted (its worker was told to end),
    abandoned (its worker died, or was too slow to keep its lease)."""

    attempt: int
    owner: str
    started_at: datetime
    finished_at: datetime | None
    outcome: str
    error: str


class EffectRecord(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A row of the effect ledger. `id` addresses it; `caused_by` is the position of the event that wanted it."""

    id: str
    effect_id: str
    kind: str
    lane: str
    params: dict[str, Any]
    state: EffectState
    attempts: int
    caused_by: int
    last_error: str
    available_at: datetime
    lease_owner: str | None
    created_at: datetime
    finished_at: datetime | None


class EffectRecords(Protocol):
    """Reads the effect ledger."""

    async def list(self, *, states: Sequence[str], kind: str, before: int, limit: int) -> Sequence[EffectRecord]:
        """Newest first, those caused before position `before`; all of one position, so that pages lose none."""
        ...

    async def get(self, key: str) -> EffectRecord | None:
        """By `id`."""
        ...

    async def tries(self, effect_id: str) -> Sequence[EffectTry]:
        """All attempts, oldest first."""
        ...
