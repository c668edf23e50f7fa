"""The run queue on Postgres: claims with SKIP LOCKED, leases by the database's clock."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from msgspec.structs import asdict
from psycopg.rows import dict_row

from application.ports.run_queue import LostRun, QueueItem, RunLease
from infrastructure.postgres.connections import Pool
from infrastructure.postgres.listener import ChannelSignal
from infrastructure.postgres.retrying import rows_of
from infrastructure.postgres.work_table import NextDue

RUN_QUEUE_CHANNEL = "fleetlog_run_queue"


class PostgresRunQueue:
    """`signal` is a subscription to RUN_QUEUE_CHANNEL; `max_running` bounds the leases of all processes."""

    def __init__(self, pool: Pool, signal: ChannelSignal, *, max_running: int = 1000) -> None:
        self._pool, self._next_due, self._max_running = pool, NextDue(signal), max_running

    async def claim(self, *, owner: str, limit: int, lease: timedelta, only_stale: bool = False) -> Sequence[RunLease]:
        arguments = {
            "owner": owner,
            "limit": limit,
            "lease": lease,
            "max_running": self._max_running,
            "only_stale": only_stale,
        }
        rows = await rows_of(self._pool, "claim_runs", arguments)
        leases: list[RunLease] = []
        for run_id, generation, taken_from, due_in in rows:
            if run_id is None:
                self._next_due.set(due_in)
            else:
                leases.append(RunLease(run_id=run_id, owner=owner, generation=generation, taken_from=taken_from or ""))
        return leases

    async def renew(self, lease: RunLease, duration: timedelta) -> bool:
        arguments = {"run_id": lease.run_id, "generation": lease.generation, "lease": duration}
        return bool(await rows_of(self._pool, "renew_run", arguments))

    async def release(self, lease: RunLease, delay: timedelta, *, begun: bool = True) -> None:
        arguments = {"run_id": lease.run_id, "generation": lease.generation, "delay": delay, "begun": begun}
        await rows_of(self._pool, "release_run", arguments)

    async def item(self, run_id: str) -> QueueItem | None:
        rows = await rows_of(self._pool, "queue_item", {"run_id": run_id}, dict_row)
        if not rows:
            return None
        row = rows[0]
        for column in ("available_at", "lease_expires_at"):
            if isinstance(row[column], datetime):
                row[column] = row[column].isoformat()
        return QueueItem(**row)

    async def missing(self, limit: int) -> Sequence[str]:
        return [run_id for (run_id,) in await rows_of(self._pool, "runs_without_queue_row", {"limit": limit})]

    async def restore(self, lost: LostRun) -> bool:
        return bool(await rows_of(self._pool, "restore_run", asdict(lost)))

    async def wait_for_work(self, timeout_s: float) -> None:
        await self._next_due.wait(timeout_s)
