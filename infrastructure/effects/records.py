"""The effect ledger as people read it."""

import asyncio
import time
from collections.abc import Sequence
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import class_row
from psycopg_pool import AsyncConnectionPool

import sql
from application.work_control import EffectRecord, EffectTry

FIRST_PAUSE_S = 0.01
LONGEST_PAUSE_S = 0.5


class PostgresEffectRecords:
    """Implements EffectRecords."""

    def __init__(self, pool: AsyncConnectionPool[AsyncConnection[Any]]) -> None:
        self._pool = pool

    async def list(self, *, states: Sequence[str], kind: str, before: int, limit: int) -> Sequence[EffectRecord]:
        arguments = {"states": [*states], "kind": kind, "before": before, "limit": limit}
        async with self._pool.connection() as connection, connection.cursor(row_factory=class_row(EffectRecord)) as cur:
            await cur.execute(sql.query("list_effects"), arguments)
            return await cur.fetchall()

    async def get(self, key: str) -> EffectRecord | None:
        async with self._pool.connection() as connection, connection.cursor(row_factory=class_row(EffectRecord)) as cur:
            await cur.execute(sql.query("one_effect"), {"key": key})
            return await cur.fetchone()

    async def tries(self, effect_id: str) -> Sequence[EffectTry]:
        async with self._pool.connection() as connection, connection.cursor(row_factory=class_row(EffectTry)) as cur:
            await cur.execute(sql.query("effect_tries"), {"effect_id": effect_id})
            return await cur.fetchall()

    async def wait_for(self, position: int, timeout_s: float) -> bool:
        """Asks again after pauses that grow: nobody tells how far the process managers are."""
        pause, deadline = FIRST_PAUSE_S, time.monotonic() + timeout_s
        while True:
            async with self._pool.connection() as connection:
                row = await (await connection.execute(sql.query("process_manager_position"))).fetchone()
            if row is not None and (row[0] or 0) >= position:
                return True
            if time.monotonic() + pause > deadline:
                return False
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_S)
