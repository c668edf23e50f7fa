"""The effect ledger on Postgres. Leases are measured by the database's clock alone."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal

from application.effects.retry_schedules import RETRY_SCHEDULES
from application.ports.effect_kinds import BEFORE_STOP, FIRST_KINDS, LONG_KINDS, SLOTS, Slot
from application.ports.effect_ledger import ClaimedEffect, EffectLease
from infrastructure.postgres.connections import Pool
from infrastructure.postgres.listener import ChannelSignal
from infrastructure.postgres.retrying import rows_of
from infrastructure.postgres.work_table import NextDue

EFFECTS_CHANNEL = "fleetlog_effects"
LONGEST_ERROR = 4000


class PostgresEffectLedger:
    """`signal` is a subscription to EFFECTS_CHANNEL. Over all processes at most `max_workers` session workers are up,
    those in maintenance not counted, and at most `max_starting` of them are starting; others wait in order."""

    def __init__(
        self,
        pool: Pool,
        signal: ChannelSignal,
        *,
        max_workers: int,
        max_starting: int,
    ) -> None:
        self._pool, self._next_due = pool, NextDue(signal)
        self._limits = {
            "first_kinds": list(FIRST_KINDS),
            "long_kinds": list(LONG_KINDS),
            "before_stop": BEFORE_STOP,
            "max_workers": max_workers,
            "max_starting": max_starting,
        }

    async def claim(self, *, owner: str, free: Mapping[Slot, int], lease: timedelta) -> Sequence[EffectLease]:
        slots = {f"{slot}_slots": free.get(slot, 0) for slot in SLOTS}
        arguments = {"owner": owner, "lease": lease, **slots, **self._limits}
        rows = await rows_of(self._pool, "claim_effects", arguments)
        leases: list[EffectLease] = []
        for *lease_row, due_in, wanted_at in rows:
            if lease_row[0] is None:
                self._next_due.set(due_in)
            else:
                leases.append(_lease(*lease_row, wanted_at=wanted_at))
        return leases

    async def renew(self, lease: EffectLease, duration: timedelta) -> bool:
        arguments = {"effect_id": lease.effect.effect_id, "generation": lease.generation, "lease": duration}
        return bool(await rows_of(self._pool, "renew_effect", arguments))

    async def settle(
        self,
        lease: EffectLease,
        outcome: Literal["done", "obsolete", "failed", "dead"],
        *,
        error: str = "",
        delay: timedelta = timedelta(),
    ) -> None:
        arguments = {
            "effect_id": lease.effect.effect_id,
            "generation": lease.generation,
            "state": "ready" if outcome == "failed" else outcome,
            "outcome": outcome,
            "error": _storable(error),
            "delay": delay,
            "long_kinds": list(LONG_KINDS),
        }
        rows = await rows_of(self._pool, "settle_effect", arguments)
        if rows and rows[0][0]:
            self._next_due.wake()

    async def defer(self, lease: EffectLease, *, error: str, delay: timedelta) -> None:
        arguments = {
            "effect_id": lease.effect.effect_id,
            "generation": lease.generation,
            "error": _storable(error),
            "delay": delay,
        }
        if await rows_of(self._pool, "defer_effect", arguments):
            self._next_due.wake()  # to learn when it is due

    async def free_stale(self) -> Sequence[str]:
        return [effect_id for effect_id, _ in await rows_of(self._pool, "free_stale_effects", {})]

    async def release(self, lease: EffectLease) -> None:
        arguments = {"effect_id": lease.effect.effect_id, "generation": lease.generation}
        await rows_of(self._pool, "release_effect", arguments)

    async def wait_for_work(self, timeout_s: float) -> None:
        await self._next_due.wait(timeout_s)


def _storable(error: str) -> str:
    return error[:LONGEST_ERROR].replace("\0", "\N{REPLACEMENT CHARACTER}")


def _lease(
    effect_id: str,
    kind: Any,
    params: dict[str, Any],
    attempts: int,
    generation: int,
    metadata: dict[str, Any],
    taken_from: str | None,
    *,
    wanted_at: datetime,
) -> EffectLease:
    effect = ClaimedEffect(
        effect_id=effect_id,
        kind=kind,
        params=params,
        attempt=attempts,
        last_attempt=attempts >= RETRY_SCHEDULES[kind].max_attempts,
        actor=metadata["actor"],
        correlation_id=metadata["correlationId"],
        causation_id=metadata["causationId"],
        trace_id=metadata.get("traceId", ""),
        wanted_at=wanted_at,
    )
    return EffectLease(effect=effect, generation=generation, taken_from=taken_from or "")
