"""The run queue on Postgres: claims with SKIP LOCKED, leases by the database's clock."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool

import sql
from application.run_queue import QueueItem, RunLease
from infrastructure.postgres.listener import ChannelSignal
from infrastructure.postgres.work_table import wait_until_due

RUN_QUEUE_CHANNEL = "fleetlog_run_queue"


class PostgresRunQueue:
    """`signal` is a subscription to RUN_QUEUE_CHANNEL; `max_running` bounds the leases of all processes."""

    def __init__(
        self, pool: AsyncConnectionPool[AsyncConnection[Any]], signal: ChannelSignal, *, max_running: int = 1000
    ) -> None:
        self._pool, self._signal, self._max_running = pool, signal, max_running

    async def claim(self, *, owner: str, limit: int, lease: timedelta) -> Sequence[RunLease]:
        arguments = {"owner": owner, "limit": limit, "lease": lease, "max_running": self._max_running}
        async with self._pool.connection() as connection:
            rows = await (await connection.execute(sql.query("claim_runs"), arguments)).fetchall()
        return [RunLease(run_id=run_id, owner=owner, generation=generation) for run_id, generation in rows]

    async def renew(self, lease: RunLease, duration: timedelta) -> bool:
        arguments = {"run_id": lease.run_id, "generation": lease.generation, "lease": duration}
        async with self._pool.connection() as connection:
            return await (await connection.execute(sql.query("renew_run"), arguments)).fetchone() is not None

    async def release(self, lease: RunLease, delay: timedelta) -> None:
        arguments = {"run_id": lease.run_id, "generation": lease.generation, "delay": delay}
        async with self._pool.connection() as connection:
            await connection.execute(sql.query("release_run"), arguments)

    async def item(self, run_id: str) -> QueueItem | None:
        async with self._pool.connection() as connection, connection.cursor(row_factory=dict_row) as cursor:
            await cursor.execute(sql.query("queue_item"), {"run_id": run_id})
            row = await cursor.fetchone()
        if row is None:
            return None
        for column in ("available_at", "lease_expires_at"):
            if isinstance(row[column], datetime):
                row[column] = row[column].isoformat()
        return QueueItem(**row)

    async def wait_for_work(self, timeout_s: float) -> None:
        await wait_until_due(self._signal, self._next_due, timeout_s)

    async def _next_due(self) -> float | None:
        async with self._pool.connection() as connection:
            limit = {"max_running": self._max_running}
            row = await (await connection.execute(sql.query("next_run_due"), limit)).fetchone()
        return row[0] if row else None
