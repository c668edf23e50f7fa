"""Waiting for read models, woken by the progress that projectors notify."""

import asyncio
import logging
from typing import Self

import psycopg
from psycopg_pool import PoolTimeout

import sql
from application.task_cancellation import cancel_and_wait
from infrastructure.postgres.connections import Pool
from infrastructure.postgres.listener import ChannelSignal, PositionSignal, PostgresListener

CHANNEL = "fleetlog_projection"
POLL_SECONDS = 1.0

_logger = logging.getLogger(__name__)


class PostgresProjectionProgress:
    """The ProjectionProgress port; use as an async context manager. It makes one small query per notification while
    callers wait, and none while no one does."""

    def __init__(self, pool: Pool, listener: PostgresListener) -> None:
        self._pool, self._listener = pool, listener
        self._positions: dict[str, PositionSignal] = {}
        self._waiting = 0
        self._wanted = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._follow())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._task is not None:
            await cancel_and_wait([self._task])

    async def wait_for(self, projection: str, position: int, timeout: float) -> bool:
        signal = self._positions.setdefault(projection, PositionSignal())
        if signal.last_position >= position:
            return True
        self._waiting += 1
        self._wanted.set()
        try:
            return await signal.wait_for(position - 1, timeout) >= position
        finally:
            self._waiting -= 1
            if self._waiting == 0:
                self._wanted.clear()

    async def _follow(self) -> None:
        with self._listener.subscribe(CHANNEL) as signal:
            while True:
                await self._wanted.wait()
                await self._read(signal)

    async def _read(self, signal: ChannelSignal) -> None:
        try:
            async with self._pool.connection() as connection:
                rows = await (await connection.execute(sql.query("projections/active_positions"))).fetchall()
        except (psycopg.OperationalError, psycopg.InterfaceError, PoolTimeout) as error:
            _logger.warning("the progress of projections can't be read", extra={"error": str(error)})
            rows = []
        for name, position in rows:
            self._positions.setdefault(name, PositionSignal()).advance(position)
        await asyncio.sleep(0)  # those that were woken leave `wait_for` first
        if self._waiting:
            await signal.wait(POLL_SECONDS)
