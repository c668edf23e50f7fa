"""Parked runs on Postgres: when they are looked at, and how they are woken by that."""

from collections.abc import Sequence
from datetime import timedelta

from application.ports.run_queue import ParkedRun
from infrastructure.postgres.connections import Pool
from infrastructure.postgres.listener import ChannelSignal
from infrastructure.postgres.retrying import rows_of
from infrastructure.postgres.work_table import NextDue

PARKED_RUNS_CHANNEL = "fleetlog_parked_runs"
SOONEST_LOOK, RAREST_LOOK = timedelta(seconds=2), timedelta(minutes=1)
"""The looks at a parked run become rarer, from the first to the second interval: what wakes it usually is an event."""


class PostgresParkedRuns:
    """`signal` is a subscription to PARKED_RUNS_CHANNEL."""

    def __init__(self, pool: Pool, signal: ChannelSignal) -> None:
        self._pool, self._next_due = pool, NextDue(signal)

    async def claim_looks(self, limit: int) -> Sequence[ParkedRun]:
        arguments = {"limit": limit, "soonest": SOONEST_LOOK, "rarest": RAREST_LOOK}
        *rows, (*_, due_in) = await rows_of(self._pool, "claim_looks", arguments)
        self._next_due.set(due_in)
        return [
            ParkedRun(run_id=run_id, session_id=session_id, waits_for=waits_for, lease_generation=generation)
            for run_id, session_id, waits_for, generation, _ in rows
        ]

    async def wake(self, parked: ParkedRun) -> None:
        await rows_of(self._pool, "wake_run", {"run_id": parked.run_id, "generation": parked.lease_generation})

    async def wait_for_look(self, timeout_s: float) -> None:
        await self._next_due.wait(timeout_s)
