"""The status of projections, and the operators' commands to them, those of users included."""

from collections.abc import Callable, Sequence
from typing import Any

from psycopg import sql as composing
from psycopg.rows import dict_row

import sql
from application.command_context import CommandContext
from application.operations.consumer_control import ConsumerControl, ProjectionControl, UserProjectionControl
from domain.errors import NotFound
from domain.operations.projections import RequestRebuild
from domain.record import Metadata
from infrastructure.postgres.connections import Pool
from infrastructure.postgres.projector.row_tables import RowTables, table, template
from infrastructure.postgres.user_projections import PostgresUserProjectionRecords
from projections.catalogue import PROJECTIONS, projection_named
from projections.ports import ProjectionStatus
from projections.projection import Projection


class PostgresProjectionAdministration:
    """The ProjectionAdministration port. `control_of_users`: makes the control of users' projections, given their
    names."""

    def __init__(
        self,
        pool: Pool,
        control: ProjectionControl,
        control_of_users: Callable[[Sequence[str]], UserProjectionControl] | None = None,
    ) -> None:
        self._pool, self._control, self._control_of_users = pool, control, control_of_users
        self._users = PostgresUserProjectionRecords(pool)

    async def status(self) -> list[ProjectionStatus]:
        return await projection_statuses(self._pool)

    async def retry(self, name: str, *, by: Metadata, command_id: str, reason: str = "") -> int:
        return await (await self._control_of(name)).retry(name, reason, _context(by, command_id))

    async def skip(self, name: str, at_position: int, *, by: Metadata, command_id: str, reason: str = "") -> int:
        return await (await self._control_of(name)).skip(name, at_position, reason, _context(by, command_id))

    async def forget(self, name: str, *, by: Metadata, command_id: str, reason: str = "") -> int:
        names = await self._users.names()
        if self._control_of_users is None or name not in names:
            raise NotFound(f"no user's projection {name!r} is known; there are: {', '.join(names) or 'none'}")
        control = self._control_of_users(names)
        async with self._users.forgetting(name):
            return await control.forget(name, reason, _context(by, command_id))

    async def _control_of(self, name: str) -> ConsumerControl:
        """Of Fleetlog's own projections; of users' ones, for a name that is one of theirs."""
        if self._control_of_users is not None and not any(each.name == name for each in PROJECTIONS):
            names = await self._users.names()
            if name in names:
                return self._control_of_users(names)
            known = ", ".join([*(each.name for each in PROJECTIONS), *names])
            raise NotFound(f"no projection {name!r} is known; there are: {known}")
        return self._control

    async def rebuild(self, name: str, *, by: Metadata, command_id: str, reason: str = "") -> int:
        fold_version = _known(name).version
        async with self._pool.connection() as connection:
            parameters = {"projection": name, "fold_version": fold_version}
            row = await (await connection.execute(sql.query("projections/begin_rebuild"), parameters)).fetchone()
        assert row is not None
        command = RequestRebuild(version=row[0], fold_version=fold_version, reason=reason)
        await self._control.request_rebuild(name, command, _context(by, command_id))
        return int(row[0])

    async def content_hash(self, name: str, *, version: int | None = None) -> tuple[int, str]:
        _known(name)
        async with self._pool.connection() as connection:
            tables = await RowTables.read(connection)
            columns = [composing.Identifier(column) for column in tables.columns[name][1:]]
            parameters = {"projection": name, "version": version}
            query = template("projections/content_hash", table=table(name), columns=composing.SQL(", ").join(columns))
            row = await (await connection.execute(query, parameters)).fetchone()
        assert row is not None
        return row[0], row[1]


async def projection_statuses(pool: Pool) -> list[ProjectionStatus]:
    """Of every version, by name; retired ones while their rows are being deleted."""
    async with pool.connection() as connection, connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(sql.query("projections/status"))
        rows = await cursor.fetchall()
    return [_status(row) for row in rows]


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
