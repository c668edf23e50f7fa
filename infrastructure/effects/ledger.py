"""The effect ledger on Postgres. Leases are measured by the database's clock alone."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Literal

from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

import sql
from application.effect_ledger import FIRST_KINDS, EffectLease
from application.effects.effect import RETRY_SCHEDULES, ClaimedEffect
from infrastructure.postgres.listener import ChannelSignal
from infrastructure.postgres.work_table import wait_until_due

EFFECTS_CHANNEL = "fleetlog_effects"
LONGEST_ERROR = 4000


class PostgresEffectLedger:
    """`signal` is a subscription to EFFECTS_CHANNEL. At most `max_workers` workers are up, those in maintenance not
    counted, and at most `max_starting` of them are starting, over all processes; others wait in order."""

    def __init__(
        self,
        pool: AsyncConnectionPool[AsyncConnection[Any]],
        signal: ChannelSignal,
        *,
        max_workers: int,
        max_starting: int,
    ) -> None:
        self._pool, self._signal = pool, signal
        self._places = {
            "first_kinds": list(FIRST_KINDS),
            "max_workers": max_workers,
            "max_starting": max_starting,
        }

    async def claim(self, *, owner: str, limit: int, lease: timedelta) -> Sequence[EffectLease]:
        arguments = {"owner": owner, "limit": limit, "lease": lease, **self._places}
        async with self._pool.connection() as connection:
            rows = await (await connection.execute(sql.query("claim_effects"), arguments)).fetchall()
        return [_lease(*row) for row in rows]

    async def renew(self, lease: EffectLease, duration: timedelta) -> bool:
        arguments = {"effect_id": lease.effect.effect_id, "generation": lease.generation, "lease": duration}
        async with self._pool.connection() as connection:
            return await (await connection.execute(sql.query("renew_effect"), arguments)).fetchone() is not None

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
            "error": error[:LONGEST_ERROR].replace("\0", "\N{REPLACEMENT CHARACTER}"),
            "delay": delay,
        }
        async with self._pool.connection() as connection:
            await connection.execute(sql.query("settle_effect"), arguments)
        # Its lane is free: what it made wanted may have come, and been passed over, before it was settled.
        self._signal.wake()

    async def wait_for_work(self, timeout_s: float) -> None:
        await wait_until_due(self._signal, self._next_due, timeout_s)

    async def _next_due(self) -> float | None:
        async with self._pool.connection() as connection:
            row = await (await connection.execute(sql.query("next_effect_due"), self._places)).fetchone()
        return row[0] if row else None


def _lease(
    effect_id: str, kind: Any, params: dict[str, Any], attempts: int, generation: int, metadata: dict[str, Any]
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
    )
    return EffectLease(effect=effect, generation=generation)
