"""The loop that keeps the read models: one page of the log at a time, for all projections at the same position.

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
from typing import Any, Literal

import psycopg
from psycopg import AsyncConnection
from psycopg.rows import class_row

import sql
from application.operations.consumer_control import ProjectionControl
from domain.operations.log_consumer import BlockingEvent, blocking_event, describe
from domain.operations.projections import PROJECTION, RecordRebuilt
from infrastructure.postgres.connections import connect
from infrastructure.postgres.continuity import LogContinuity
from infrastructure.postgres.event_store.errors import EventStoreUnavailable, LogDiscontinued
from infrastructure.postgres.listener import PositionSignal
from infrastructure.postgres.projector.batch import BatchRejected, CheckpointMoved, apply_one_by_one, commit, fold_page
from infrastructure.postgres.projector.failing_pages import FailingPages, PageFailed
from infrastructure.postgres.projector.log_page import LogPage, read_page
from infrastructure.postgres.projector.projected_version import CACHED_ROWS, Folded, ProjectedVersion
from infrastructure.postgres.projector.row_tables import RowTables, table, template
from projections.catalogue import PROJECTIONS
from projections.projection import Projection

LOOK_SECONDS = 0.5
# A projector that is merely stopped (SIGSTOP) is silent on its connection, and loses it, and with it its locks.
LONGEST_SILENCE = timedelta(seconds=15)
SILENCE = {"idle_session_timeout": "15s", "idle_in_transaction_session_timeout": "15s"}
GATHER_SECONDS = 0.02
"""The least time between rounds at the end of the log: a round costs about the same for many events as for one."""
BUSY_GATHER_SECONDS, BUSY_POSITIONS_PER_SECOND = 0.06, 4000
"""The same in a busy log."""
PAGE_POSITIONS = 2_000
REBUILD_PAGE_POSITIONS = 5_000
RETIRED_ROWS_AT_ONCE = 5_000
NEWER_CODE_SECONDS = 5.0
FIRST_RETRY_DELAY_SECONDS = 0.05
LAST_RETRY_DELAY_SECONDS = 1.0

_logger = logging.getLogger(__name__)


class Projector:
    """Run `run()` as a task; it ends when it is cancelled. It has one connection of its own."""

    def __init__(
        self,
        dsn: str,
        *,
        control: ProjectionControl,
        end_of_log: PositionSignal,
        projections: Sequence[Projection[Any]] = PROJECTIONS,
        page_positions: int = PAGE_POSITIONS,
        rebuild_page_positions: int = REBUILD_PAGE_POSITIONS,
        cached_rows: int = CACHED_ROWS,
        holder: str = "",
        continuity: LogContinuity | None = None,
    ) -> None:
        """`page_positions`: how much of the log is folded in one transaction. `holder` names this process in the
        status; by default `{host}:{pid}`. `continuity`: of the process's log."""
        self._dsn, self._end_of_log, self._continuity = dsn, end_of_log, continuity
        self._projections = {projection.name: projection for projection in projections}
        self._page_positions, self._rebuild_page_positions = page_positions, rebuild_page_positions
        self._cached_rows = cached_rows
        self._holder = holder or f"{socket.gethostname()}:{os.getpid()}"
        self._control = control
        self._held: dict[tuple[str, int], ProjectedVersion] = {}
        self._left_to_newer_code: dict[tuple[str, int], float] = {}
        self._failing = FailingPages()

    async def run(self) -> None:
        """Project until cancelled. Lost connections, takeovers and pages that fail are survived; anything else is
        raised."""
        delay = FIRST_RETRY_DELAY_SECONDS
        while True:
            try:
                async with await self._connected() as connection:
                    async for _ in self._rounds(connection):
                        delay = FIRST_RETRY_DELAY_SECONDS
            except LogDiscontinued:
                raise
            except CheckpointMoved as moved:
                _logger.info("another process projects now", extra={"reason": str(moved)})
            except PageFailed as failed:
                _logger.warning("a page failed, trying again with a smaller one", extra={"error": str(failed)})
            except (psycopg.OperationalError, psycopg.InterfaceError, EventStoreUnavailable, TimeoutError) as error:
                _logger.warning("projecting stopped, trying again", extra={"error": str(error)})
            await asyncio.sleep(delay)
            delay = min(2 * delay, LAST_RETRY_DELAY_SECONDS)

    async def _connected(self) -> AsyncConnection[Any]:
        return await connect(self._dsn, self._continuity, synchronous_commit="off", **SILENCE)

    async def _rounds(self, connection: AsyncConnection[Any]) -> AsyncIterator[None]:
        self._held.clear()
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
            behind = await self._round(connection, tables) if self._is_due() else False
            yield
            if not behind:
                busy = self._reached() - before > BUSY_POSITIONS_PER_SECOND * (begun - last_begun)
                await asyncio.sleep(begun + (BUSY_GATHER_SECONDS if busy else GATHER_SECONDS) - loop.time())
                await self._end_of_log.wait_for(self._reached(), max(next_look - loop.time(), 0.001))

    def _reached(self) -> int:
        """The highest position of the running versions; 2**62 when none runs."""
        return max((projected.position for projected in self._running()), default=2**62)

    def _is_due(self) -> bool:
        """Whether a running version has something to read, or is a build, which ends by a read that finds nothing."""
        last = self._end_of_log.last_position
        return any(projected.position < last or projected.state == "building" for projected in self._running())

    def _running(self) -> list[ProjectedVersion]:
        return [projected for projected in self._held.values() if projected.blocking is None]

    async def _round(self, connection: AsyncConnection[Any], tables: RowTables) -> bool:
        """Fold one page at each position where versions are, the lowest first, and those whose pages fail last, each
        alone. Returns whether there is more to do. Raises PageFailed."""
        together: dict[tuple[str, int], list[ProjectedVersion]] = {}
        for projected in self._running():
            alone = f"{projected.name}/{projected.version}" if self._failing.is_failing(projected) else ""
            together.setdefault((alone, projected.position), []).append(projected)
        busy = False
        pages = sorted(together)
        for (alone, position), following in zip(pages, [*pages[1:], None], strict=True):
            versions = [
                projected
                for projected in together[alone, position]
                if self._held.get((projected.name, projected.version)) is projected
            ]
            if not versions or (alone and await self._stop_at_failing_event(connection, versions[0])):
                continue  # retired, or stopped, in this very round
            ahead = following[1] if following is not None and not following[0] else None
            at_end = await self._fold_page(connection, tables, versions, ahead)
            busy = busy or following is not None or not at_end
        return busy

    async def _fold_page(
        self,
        connection: AsyncConnection[Any],
        tables: RowTables,
        versions: list[ProjectedVersion],
        ahead: int | None,
    ) -> bool:
        """Fold the next page into versions at the same position, up to that of the ones `ahead`: from there on it is
        one page for both. Returns whether the log ends there. Raises PageFailed."""
        position = versions[0].position
        rebuilding = all(projected.state == "building" for projected in versions)
        usual = self._rebuild_page_positions if rebuilding else self._page_positions
        up_to = position + self._failing.size(versions[0], usual)
        types = sorted(frozenset().union(*(projected.projection.event_types for projected in versions)))
        try:
            page = await read_page(connection, after=position, up_to=min(up_to, ahead or up_to), types=types)
            applied = await self._apply(connection, tables, versions, page)
        except CheckpointMoved:
            raise
        except Exception as error:
            for projected in versions:
                self._failing.failed(projected, usual, error)
            raise PageFailed(f"the page after position {position}: {describe(error)}") from error
        for folded in applied:
            self._failing.passed(folded.projected)
            if folded.blocking is not None:
                await self._stop(connection, folded.projected, folded.blocking)
            elif page.at_end and folded.projected.state == "building":
                await self._activate(connection, folded.projected)
        return page.at_end

    async def _stop_at_failing_event(self, connection: AsyncConnection[Any], projected: ProjectedVersion) -> bool:
        """Stop a version at the event that has failed alone too often."""
        error = self._failing.blocks(projected)
        if error is None:
            return False
        position = projected.position + 1
        found = await (await connection.execute(sql.query("projections/type_at"), {"position": position})).fetchone()
        await self._stop(connection, projected, blocking_event(position, found[0] if found else "", error))
        return True

    async def _apply(
        self, connection: AsyncConnection[Any], tables: RowTables, versions: list[ProjectedVersion], page: LogPage
    ) -> list[Folded]:
        folded = await fold_page(connection, tables, versions, page)
        try:
            await commit(connection, tables, folded)
        except BatchRejected as rejected:
            _logger.warning("a batch was rejected, looking for the event at fault", extra={"error": str(rejected)})
            return [await apply_one_by_one(connection, tables, projected, page) for projected in versions]
        return folded

    async def _stop(
        self, connection: AsyncConnection[Any], projected: ProjectedVersion, blocking: BlockingEvent
    ) -> None:
        """Stop a version at an event, in the log first; or leave it to the newer code that wrote the event."""
        if not blocking.newer:
            await self._control.stop(
                projected.name, blocking, version=projected.version, fold_version=projected.projection.version
            )
        projected.blocking = blocking
        await self._show_status(connection, projected)
        _logger.error(
            "a projection stopped",
            extra={"projection": projected.name, "position": blocking.position, "error": blocking.error},
        )
        if blocking.newer:
            await self._leave(connection, projected)
            self._left_to_newer_code[projected.name, projected.version] = (
                asyncio.get_running_loop().time() + NEWER_CODE_SECONDS
            )

    async def _show_status(self, connection: AsyncConnection[Any], projected: ProjectedVersion) -> None:
        blocking = projected.blocking
        await connection.execute(
            sql.query("projections/set_status"),
            {
                "projection": projected.name,
                "version": projected.version,
                "status": PROJECTION.status(blocking),
                "error_position": blocking.position if blocking else None,
                "error_type": blocking.type if blocking else None,
                "error": blocking.error if blocking else None,
            },
        )

    async def _record_rebuilt(self, projected: ProjectedVersion) -> None:
        command = RecordRebuilt(
            version=projected.version, fold_version=projected.projection.version, at_position=projected.position
        )
        await self._control.record_rebuilt(projected.name, command)

    async def _activate(self, connection: AsyncConnection[Any], projected: ProjectedVersion) -> None:
        parameters = {"projection": projected.name, "version": projected.version}
        row = await (await connection.execute(sql.query("projections/activate"), parameters)).fetchone()
        if row != (True,):
            return
        projected.state = "active"
        await self._record_rebuilt(projected)
        for other in [
            other for other in self._held.values() if other.name == projected.name and other is not projected
        ]:
            await self._leave(connection, other)

    async def _leave(self, connection: AsyncConnection[Any], projected: ProjectedVersion) -> None:
        del self._held[projected.name, projected.version]
        parameters = {"projection": projected.name, "version": projected.version}
        await connection.execute(sql.query("projections/unlock"), parameters)

    async def _look(self, connection: AsyncConnection[Any]) -> None:
        """Read the versions, lock those that no process projects, and resume those that are stopped no longer."""
        now = asyncio.get_running_loop().time()
        free: list[VersionRow] = []
        cursor = connection.cursor(row_factory=class_row(VersionRow))
        for row in await (await cursor.execute(sql.query("projections/versions"))).fetchall():
            key = row.projection, row.version
            projection = self._projections.get(row.projection)
            if row.state == "retired":
                if key in self._held:
                    await self._leave(connection, self._held[key])
                if any(projected.name == row.projection for projected in self._held.values()):
                    await self._delete_retired(connection, row)
            elif projection is None or projection.version != row.fold_version:
                continue
            elif key in self._held:
                if self._held[key].blocking is not None:
                    await self._resume_unless_stopped(connection, self._held[key])
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
            control = await self._control.load(name)
            projection = self._projections[name]
            projected = ProjectedVersion(
                projection,
                version,
                state=states[name, version],
                position=position,
                skips=control.skips(projection.version),
                cached_rows=self._cached_rows,
            )
            self._held[name, version] = projected
            if status != "running":
                projected.blocking = BlockingEvent(position=position + 1, type="", error="")
                await self._resume_unless_stopped(connection, projected)
            if projected.state == "active" and version > 1:
                await self._record_rebuilt(projected)

    async def _resume_unless_stopped(self, connection: AsyncConnection[Any], projected: ProjectedVersion) -> None:
        """Resume this version if the log does not call it stopped (any more)."""
        control = await self._control.load(projected.name)
        if projected.version not in control.stopped:
            projected.blocking, projected.skips = None, control.skips(projected.projection.version)
            await self._show_status(connection, projected)

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
