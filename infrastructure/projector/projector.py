"""The loop that keeps the read models: one page of the log at a time, for all projections that stand at the same place.

Any number of processes may run it. Whoever holds a version's advisory lock projects it; the others try again every half
second, so that a killed process is replaced at once. The lock only saves work: what makes each event count exactly once
is that a checkpoint moves from where this process left it, in the transaction that writes the rows.
"""

import asyncio
import logging
import os
import socket
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal, Protocol

import psycopg
from psycopg import AsyncConnection
from psycopg.rows import class_row

import sql
from application.ports import EventStore
from infrastructure.eventstore.group_commit import EventStoreUnavailable
from infrastructure.postgres.sessions import connect
from infrastructure.projector.batch import Moved, Refused, apply_one_by_one, commit, fold_page
from infrastructure.projector.controls import ProjectionControls
from infrastructure.projector.log_page import LogPage, read_page
from infrastructure.projector.row_tables import RowTables, table, template
from infrastructure.projector.unit import CACHED_ROWS, Folded, Problem, Unit
from projections.catalogue import PROJECTIONS
from projections.projection import Projection

LOOK_SECONDS = 0.5
# A projector that is merely stopped (SIGSTOP) is silent on its connection, and loses it, and with it its locks.
LONGEST_SILENCE = timedelta(seconds=15)
SILENCE = {"idle_session_timeout": "15s", "idle_in_transaction_session_timeout": "15s"}
GATHER_SECONDS = 0.02
"""The least time between rounds at the end of the log: it costs about the same for many events as for one."""
BUSY_GATHER_SECONDS, BUSY_POSITIONS_PER_SECOND = 0.06, 4000
"""The same in a busy log."""
PAGE_POSITIONS = 2_000
REBUILD_PAGE_POSITIONS = 5_000
RETIRED_ROWS_AT_ONCE = 5_000
NEWER_CODE_SECONDS = 5.0
FIRST_RETRY_DELAY_SECONDS = 0.05
LAST_RETRY_DELAY_SECONDS = 1.0

_logger = logging.getLogger(__name__)


class EndOfLog(Protocol):
    """The end of the log as this process knows it, such as PostgresListener.position."""

    async def wait_for(self, position_greater_than: int, timeout: float) -> int: ...


class Projector:
    """Run `run()` as a task; it ends when it is cancelled. It has one connection of its own."""

    def __init__(
        self,
        dsn: str,
        *,
        store: EventStore,
        end_of_log: EndOfLog,
        projections: Sequence[Projection[Any]] = PROJECTIONS,
        page_positions: int = PAGE_POSITIONS,
        rebuild_page_positions: int = REBUILD_PAGE_POSITIONS,
        cached_rows: int = CACHED_ROWS,
        holder: str = "",
    ) -> None:
        """`page_positions`: how much of the log is folded in one transaction. `holder` names this process in the
        status; by default `{host}:{pid}`."""
        self._dsn, self._end_of_log = dsn, end_of_log
        self._projections = {projection.name: projection for projection in projections}
        self._page_positions, self._rebuild_page_positions = page_positions, rebuild_page_positions
        self._cached_rows = cached_rows
        self._holder = holder or f"{socket.gethostname()}:{os.getpid()}"
        self._controls = ProjectionControls(store)
        self._units: dict[tuple[str, int], Unit] = {}
        self._left_to_newer_code: dict[tuple[str, int], float] = {}

    async def run(self) -> None:
        """Project until cancelled. Lost connections and takeovers are survived; anything else is raised."""
        delay = FIRST_RETRY_DELAY_SECONDS
        while True:
            try:
                async with await connect(self._dsn, synchronous_commit="off", **SILENCE) as connection:
                    async for _ in self._rounds(connection):
                        delay = FIRST_RETRY_DELAY_SECONDS
            except Moved as moved:
                _logger.info("another process projects now", extra={"reason": str(moved)})
            except (psycopg.OperationalError, psycopg.InterfaceError, EventStoreUnavailable, TimeoutError) as error:
                _logger.warning("projecting stopped, trying again", extra={"error": str(error)})
            await asyncio.sleep(delay)
            delay = min(2 * delay, LAST_RETRY_DELAY_SECONDS)

    async def _rounds(self, connection: AsyncConnection[Any]) -> AsyncIterator[None]:
        self._units.clear()
        tables = await RowTables.read(connection)
        await connection.execute(
            sql.query("projections/declare"),
            {
                "projections": list(self._projections),
                "fold_versions": [projection.version for projection in self._projections.values()],
            },
        )
        loop = asyncio.get_running_loop()
        next_look = begun = loop.time()
        while True:
            if loop.time() >= next_look:
                await self._look(connection)
                next_look = loop.time() + LOOK_SECONDS
            last_begun, begun, before = begun, loop.time(), self._reached()
            behind = await self._round(connection, tables)
            yield
            if not behind:
                busy = self._reached() - before > BUSY_POSITIONS_PER_SECOND * (begun - last_begun)
                await asyncio.sleep(begun + (BUSY_GATHER_SECONDS if busy else GATHER_SECONDS) - loop.time())
                await self._end_of_log.wait_for(self._reached(), max(next_look - loop.time(), 0.001))

    def _reached(self) -> int:
        """Where the foremost of the running units stands; beyond everything when none runs."""
        return max((unit.position for unit in self._running()), default=2**62)

    def _running(self) -> list[Unit]:
        return [unit for unit in self._units.values() if unit.status == "running"]

    async def _round(self, connection: AsyncConnection[Any], tables: RowTables) -> bool:
        """One page for each place in the log where units stand, the hindmost first; whether there is more to do."""
        places: dict[int, list[Unit]] = {}
        for unit in self._running():
            places.setdefault(unit.position, []).append(unit)
        busy = False
        ahead = sorted(places)
        for number, place in enumerate(ahead):
            units = [unit for unit in places[place] if self._units.get((unit.name, unit.version)) is unit]
            if not units:
                continue  # retired in this very round
            rebuilding = all(unit.state == "building" for unit in units)
            up_to = place + (self._rebuild_page_positions if rebuilding else self._page_positions)
            if number + 1 < len(ahead):
                up_to = min(up_to, ahead[number + 1])  # there they meet the others, and go on together
                busy = True
            types = sorted(frozenset().union(*(unit.projection.event_types for unit in units)))
            page = await read_page(connection, after=place, up_to=up_to, types=types)
            for folded in await self._apply(connection, tables, units, page):
                if folded.problem is not None:
                    await self._stop(connection, folded.unit, folded.problem)
                elif page.at_end and folded.unit.state == "building":
                    await self._activate(connection, folded.unit)
            busy = busy or not page.at_end
        return busy

    async def _apply(
        self, connection: AsyncConnection[Any], tables: RowTables, units: list[Unit], page: LogPage
    ) -> list[Folded]:
        folded = await fold_page(connection, tables, units, page)
        try:
            await commit(connection, tables, folded)
        except Refused as refused:
            _logger.warning("a batch was refused, looking for the event at fault", extra={"error": str(refused)})
            return [await apply_one_by_one(connection, tables, unit, page) for unit in units]
        return folded

    async def _stop(self, connection: AsyncConnection[Any], unit: Unit, problem: Problem) -> None:
        """Pause a unit, in the log first; or leave it to the newer code that wrote the event."""
        if not problem.waiting:
            await self._controls.pause(unit, problem)
        unit.status = "waiting" if problem.waiting else "paused"
        await self._set_status(connection, unit, problem)
        _logger.error(
            "a projection stopped",
            extra={"projection": unit.name, "position": problem.position, "error": problem.error},
        )
        if problem.waiting:
            await self._leave(connection, unit)
            self._left_to_newer_code[unit.name, unit.version] = asyncio.get_running_loop().time() + NEWER_CODE_SECONDS

    async def _set_status(self, connection: AsyncConnection[Any], unit: Unit, problem: Problem | None) -> None:
        await connection.execute(
            sql.query("projections/set_status"),
            {
                "projection": unit.name,
                "version": unit.version,
                "status": unit.status,
                "error_position": problem.position if problem else None,
                "error_type": problem.type if problem else None,
                "error": problem.error if problem else None,
            },
        )

    async def _activate(self, connection: AsyncConnection[Any], unit: Unit) -> None:
        parameters = {"projection": unit.name, "version": unit.version}
        row = await (await connection.execute(sql.query("projections/activate"), parameters)).fetchone()
        if row != (True,):
            return
        unit.state = "active"
        await self._controls.record_rebuilt(unit)
        for other in [other for other in self._units.values() if other.name == unit.name and other is not unit]:
            await self._leave(connection, other)

    async def _leave(self, connection: AsyncConnection[Any], unit: Unit) -> None:
        del self._units[unit.name, unit.version]
        parameters = {"projection": unit.name, "version": unit.version}
        await connection.execute(sql.query("projections/unlock"), parameters)

    async def _look(self, connection: AsyncConnection[Any]) -> None:
        """See which versions there are, take those that nobody projects, and heed what was said in the log."""
        now = asyncio.get_running_loop().time()
        free: list[VersionRow] = []
        cursor = connection.cursor(row_factory=class_row(VersionRow))
        for row in await (await cursor.execute(sql.query("projections/versions"))).fetchall():
            key = row.projection, row.version
            projection = self._projections.get(row.projection)
            if row.state == "retired":
                if key in self._units:
                    await self._leave(connection, self._units[key])
                if any(unit.name == row.projection for unit in self._units.values()):
                    await self._delete_retired(connection, row)
            elif projection is None or projection.version != row.fold_version:
                continue
            elif key in self._units:
                if self._units[key].status == "paused":
                    await self._heed(connection, self._units[key])
            elif now >= self._left_to_newer_code.get(key, 0):
                free.append(row)
        if free:
            await self._take(connection, free)

    async def _take(self, connection: AsyncConnection[Any], free: Sequence["VersionRow"]) -> None:
        cursor = await connection.execute(
            sql.query("projections/try_lock"),
            {
                "projections": [row.projection for row in free],
                "versions": [row.version for row in free],
                "holder": self._holder,
            },
        )
        await connection.execute(
            sql.query("projections/end_silent_holders"),
            {
                "projections": [row.projection for row in free],
                "versions": [row.version for row in free],
                "silence": LONGEST_SILENCE,
            },
        )
        states = {(row.projection, row.version): row.state for row in free}
        for name, version, position, status in await cursor.fetchall():
            control = await self._controls.load(name)
            projection = self._projections[name]
            unit = Unit(
                projection,
                version,
                state=states[name, version],
                position=position,
                status=status,
                skips=control.skips(projection.version),
                cached_rows=self._cached_rows,
            )
            self._units[name, version] = unit
            if status != "running":
                await self._heed(connection, unit)
            if unit.state == "active" and version > 1:
                await self._controls.record_rebuilt(unit)

    async def _heed(self, connection: AsyncConnection[Any], unit: Unit) -> None:
        """Go on if nothing in the log says that this version is paused (any more)."""
        control = await self._controls.load(unit.name)
        if unit.version not in control.paused:
            unit.status, unit.skips = "running", control.skips(unit.projection.version)
            await self._set_status(connection, unit, None)

    async def _delete_retired(self, connection: AsyncConnection[Any], row: "VersionRow") -> None:
        deleted = await connection.execute(
            template("projections/delete_retired_rows", table=table(row.projection)),
            {"version": row.version, "limit": RETIRED_ROWS_AT_ONCE},
        )
        if deleted.rowcount < RETIRED_ROWS_AT_ONCE:
            old = {"projection": row.projection, "fold_version": row.fold_version, "limit": RETIRED_ROWS_AT_ONCE}
            deleted = await connection.execute(sql.query("projections/delete_old_snapshots"), old)
        if deleted.rowcount < RETIRED_ROWS_AT_ONCE:
            parameters = {"projection": row.projection, "version": row.version}
            await connection.execute(sql.query("projections/forget_version"), parameters)


@dataclass
class VersionRow:
    """A row of the query `projections/versions`."""

    projection: str
    version: int
    fold_version: int
    state: Literal["building", "active", "retired"]
    status: str
    position: int
