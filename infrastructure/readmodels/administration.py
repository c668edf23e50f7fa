"""What operators see of projections and tell them."""

from typing import Any

from psycopg import AsyncConnection
from psycopg import sql as composing
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool

import sql
from application.command_context import CommandContext
from application.ports import EventStore
from domain.errors import NotFound
from domain.projection.control import NotPaused, RequestRebuild, RetryProjection, SkipEvent
from domain.record import Metadata
from infrastructure.projector.controls import ProjectionControls
from infrastructure.projector.row_tables import RowTables, table, template
from projections.catalogue import projection_named
from projections.ports import ProjectionStatus
from projections.projection import Projection


class PostgresProjectionAdministration:
    """The ProjectionAdministration port."""

    def __init__(self, pool: AsyncConnectionPool[AsyncConnection[Any]], store: EventStore) -> None:
        self._pool = pool
        self._controls = ProjectionControls(store)

    async def status(self) -> list[ProjectionStatus]:
        """Of every version, by name; retired ones while their rows are being deleted."""
        async with self._pool.connection() as connection, connection.cursor(row_factory=dict_row) as cursor:
            await cursor.execute(sql.query("projections/status"))
            rows = await cursor.fetchall()
        return [_status(row) for row in rows]

    async def retry(self, name: str, *, by: Metadata, command_id: str, reason: str = "") -> int:
        """As the port says; every paused version tries again."""
        _known(name)
        position = 0
        paused = (await self._controls.load(name)).paused
        if not paused:
            raise NotPaused(f"projection {name!r} is not paused; there is nothing to retry")
        for version in sorted(paused):
            context = _context(by, f"{command_id}/{version}")
            position = await self._controls.handle(name, RetryProjection(version=version, reason=reason), context)
        return position

    async def skip(self, name: str, at_position: int, *, by: Metadata, command_id: str, reason: str = "") -> int:
        """As the port says; every version that is paused there goes on."""
        _known(name)
        position = 0
        paused = (await self._controls.load(name)).paused
        there = sorted(version for version, pause in paused.items() if pause.at_position == at_position)
        if not there:
            places = ", ".join(str(pause.at_position) for pause in paused.values()) or "none"
            raise NotPaused(f"projection {name!r} is not paused at position {at_position}; paused at: {places}")
        for version in there:
            command = SkipEvent(version=version, at_position=at_position, reason=reason)
            position = await self._controls.handle(name, command, _context(by, f"{command_id}/{version}"))
        return position

    async def rebuild(self, name: str, *, by: Metadata, command_id: str, reason: str = "") -> int:
        """As the port says."""
        fold_version = _known(name).version
        async with self._pool.connection() as connection:
            parameters = {"projection": name, "fold_version": fold_version}
            row = await (await connection.execute(sql.query("projections/begin_rebuild"), parameters)).fetchone()
        assert row is not None
        command = RequestRebuild(version=row[0], fold_version=fold_version, reason=reason)
        await self._controls.handle(name, command, _context(by, command_id))
        return int(row[0])

    async def content_hash(self, name: str, *, version: int | None = None) -> tuple[int, str]:
        """As the port says."""
        _known(name)
        async with self._pool.connection() as connection:
            tables = await RowTables.read(connection)
            columns = [composing.Identifier(column) for column in tables.columns[name][1:]]
            parameters = {"projection": name, "version": version}
            query = template("projections/content_hash", table=table(name), columns=composing.SQL(", ").join(columns))
            row = await (await connection.execute(query, parameters)).fetchone()
        assert row is not None
        return row[0], row[1]


def _status(row: dict[str, Any]) -> ProjectionStatus:
    behind = row["head"] - row["position"]
    return ProjectionStatus(
        projection=row["projection"],
        version=row["version"],
        fold_version=row["fold_version"],
        state=row["state"],
        status=row["status"],
        position=row["position"],
        lag_events=max(behind, 0),
        lag_seconds=row["behind_seconds"] or 0.0,
        holder=row["holder"],
        error=row["error"],
        error_position=row["error_position"],
        error_type=row["error_type"],
    )


def _known(name: str) -> Projection[Any]:
    try:
        return projection_named(name)
    except LookupError as error:
        raise NotFound(str(error)) from None


def _context(by: Metadata, command_id: str) -> CommandContext:
    return CommandContext(
        actor=by.actor,
        command_id=command_id,
        correlation_id=by.correlation_id,
        causation_id=by.causation_id,
        trace_id=by.trace_id,
    )
