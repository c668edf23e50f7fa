"""Runs the process managers over the log: exactly once per event, by one process at a time.

What an event makes wanted is recorded in the transaction that moves the checkpoint past it. The lock that makes one
process the active one is held by that process's connection: when it dies, another takes over within a poll interval.
A leader that is merely stopped (SIGSTOP, a frozen machine) is silent on its connection, and loses it after 10 seconds:
by the server's idle_session_timeout, or by those who wait for the lock.

An event that a process manager can't take stops that one alone, until a person says retry or skip. One that newer code
has written is left to a process of that code: this one steps aside every few seconds.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import psycopg

import sql
from application.process_manager_control import ProcessManagerControls
from domain.operations.process_managers import StopAtEvent
from infrastructure.eventstore.store import GroupCommitEventStore
from infrastructure.postgres.listener import PositionSignal
from infrastructure.postgres.sessions import connect
from infrastructure.process_managers.recording import record
from infrastructure.process_managers.unit import React, Trouble, Unit, Wish

log = logging.getLogger(__name__)
LOCK = 5067271820452103
BATCH = 500
POLL_S = 1.0
GATHER_S = 0.004
"""Rounds begin no closer together than this: under load, one of them takes what several commits have written."""
BUSY_GATHER_S, BUSY_EVENTS_PER_S = 0.02, 2000
"""In a busy log: a round costs about the same for many events as for one, and what somebody has done already by the
time that it is read needs no row."""
LOOK_S = 0.5
STEP_ASIDE_AFTER_S = 5.0
SILENCE = timedelta(seconds=10)
# No flush of its own: what a crash of the server takes back is wanted again, under the same ids.
SESSION = {"synchronous_commit": "off", "idle_session_timeout": "10s", "idle_in_transaction_session_timeout": "10s"}
Connection = psycopg.AsyncConnection[Any]


class _StepAside(Exception):
    """Newer code is needed; perhaps another process has it."""


class ProcessManagerRunner:
    """`run` works until it is cancelled. `managers`: by name, the wire names that each waits for."""

    def __init__(
        self,
        *,
        dsn: str,
        store: GroupCommitEventStore,
        position: PositionSignal,
        react: React,
        managers: Mapping[str, Sequence[str]],
        controls: ProcessManagerControls,
    ) -> None:
        self._dsn, self._store, self._position = dsn, store, position
        self._react, self._managers, self._controls = react, managers, controls

    async def run(self) -> None:
        while True:
            pause = POLL_S
            try:
                async with await connect(self._dsn, **SESSION) as connection:
                    await self._lead(connection)
            except _StepAside:
                pause = 2 * POLL_S
            except (psycopg.Error, TimeoutError) as error:
                log.warning("the process managers lost their connection, connecting again: %s", error)
            except Exception:
                log.exception("the process managers stopped at an error; trying again")
            await asyncio.sleep(pause)

    async def _lead(self, connection: Connection) -> None:
        # Another process holds the lock; its death sends no event.
        while not await _one(connection, "SELECT pg_try_advisory_lock(%s)", LOCK):
            await connection.execute(sql.query("end_silent_holder"), {"locks": [LOCK], "silence": SILENCE})
            await asyncio.sleep(POLL_S)
        units = await self._units(connection)
        loop = asyncio.get_running_loop()
        since = next_look = last_began = loop.time()
        while True:
            if any(unit.trouble for unit in units) and loop.time() >= next_look:
                await self._look_at_stopped(connection, units, since)
                next_look = loop.time() + LOOK_S
            last = await self._position.wait_for(_hindmost(units), POLL_S)
            if _hindmost(units) >= last:
                await connection.execute("SELECT 1")
            while _hindmost(units) < last:
                began = loop.time()
                events = await self._advance(connection, units, last)
                busy = events > BUSY_EVENTS_PER_S * (began - last_began)
                last_began = began
                await asyncio.sleep(began + (BUSY_GATHER_S if busy else GATHER_S) - loop.time())

    async def _units(self, connection: Connection) -> list[Unit]:
        cursor = await connection.execute(sql.query("declare_process_managers"), {"names": list(self._managers)})
        units = []
        for name, position, status in await cursor.fetchall():
            control = await self._controls.load(name)
            unit = Unit(name, self._managers[name], self._react, position=position, skips=control.skipped)
            if control.stopped_at:
                unit.trouble = Trouble(position=control.stopped_at, type="", error="", newer=False)
            elif status != "running":
                await _show(connection, unit)
            units.append(unit)
        return units

    async def _advance(self, connection: Connection, units: Sequence[Unit], last: int) -> int:
        """One page of the log, for the hindmost of those that work, up to where the next of them stand. How many events
        it had."""
        working = [unit for unit in units if unit.trouble is None]
        after = _hindmost(units)
        together = [unit for unit in working if unit.position == after]
        ahead = min((unit.position for unit in working if unit.position > after), default=None)
        types = sorted(frozenset().union(*(unit.types for unit in together)))
        rows = await self._store.read_all_raw(after=after, limit=BATCH, types=types)
        reached = rows[-1].position if len(rows) == BATCH else max(last, rows[-1].position if rows else 0)
        if ahead is not None:
            reached = min(reached, ahead)
        rows = [row for row in rows if row.position <= reached]
        wanted: list[Wish] = []
        troubles: dict[str, Trouble] = {}
        places: dict[str, int] = {}
        for unit in together:
            wishes, trouble = unit.reactions(rows)
            wanted += wishes
            if trouble is not None:
                troubles[unit.name] = trouble
            places[unit.name] = reached if trouble is None else trouble.position - 1
        async with connection.pipeline(), connection.transaction():
            await record(connection, wanted)
            await connection.execute(
                sql.query("advance_process_managers"),
                {"names": list(places), "positions": list(places.values())},
            )
        for unit in together:
            unit.position = places[unit.name]
            if unit.name in troubles:
                await self._stop(connection, unit, troubles[unit.name])
        return len(rows)

    async def _stop(self, connection: Connection, unit: Unit, trouble: Trouble) -> None:
        """In the log first; what newer code has written is no trouble of anybody's."""
        if not trouble.newer:
            command = StopAtEvent(at_position=trouble.position, event_type=trouble.type, error=trouble.error)
            await self._controls.stop(unit.name, command)
        unit.trouble = trouble
        await _show(connection, unit)
        log.error("the process manager %s stands still at position %d: %s", unit.name, trouble.position, trouble.error)

    async def _look_at_stopped(self, connection: Connection, units: Sequence[Unit], since: float) -> None:
        """Go on where the log says so. Raises _StepAside when newer code is needed for long enough."""
        for unit in units:
            if unit.trouble is None:
                continue
            if unit.trouble.newer:
                if asyncio.get_running_loop().time() > since + STEP_ASIDE_AFTER_S:
                    raise _StepAside
                continue
            control = await self._controls.load(unit.name)
            if not control.stopped_at:
                unit.trouble, unit.skips = None, control.skipped
                await _show(connection, unit)


def _hindmost(units: Sequence[Unit]) -> int:
    """Where the hindmost stands of those that work; beyond everything when none does."""
    return min((unit.position for unit in units if unit.trouble is None), default=2**62)


async def _show(connection: Connection, unit: Unit) -> None:
    trouble = unit.trouble
    await connection.execute(
        sql.query("process_manager_status"),
        {
            "name": unit.name,
            "status": "running" if trouble is None else "waiting" if trouble.newer else "stopped",
            "error_position": trouble.position if trouble else None,
            "error_type": trouble.type if trouble else None,
            "error": trouble.error if trouble else None,
        },
    )


async def _one(connection: Connection, statement: str, argument: object) -> Any:
    row = await (await connection.execute(statement, (argument,))).fetchone()
    return row[0] if row else None
