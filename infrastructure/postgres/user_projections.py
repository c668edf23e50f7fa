"""Users' projections in the database: the status of all, and the lock and status of one for its holder."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import msgspec
import psycopg
from psycopg import sql as composing
from psycopg.rows import dict_row

import sql
from application.ports.user_projections import MAX_SHOWN, MOST_COUNTED, State, UserProjectionStatus
from domain.identifiers import DEFAULT_TENANT
from domain.operations.user_projections import ProjectionRuns
from infrastructure.postgres.connections import Pool
from infrastructure.postgres.retrying import rows_of

SILENCE = timedelta(seconds=10)
"""Whose row has not been written for so long does not run."""
COUNTED = timedelta(days=1)
"""The lag of one that has not run for so long is not counted."""
Connection = psycopg.AsyncConnection[Any]


class PostgresUserProjectionRecords:
    """Implements UserProjectionRecords."""

    def __init__(self, pool: Pool, *, tenant: str = DEFAULT_TENANT) -> None:
        self._pool, self._tenant = pool, tenant

    async def status(self) -> Sequence[UserProjectionStatus]:
        bounds = {
            "tenant": self._tenant,
            "silence": SILENCE,
            "counted": COUNTED,
            "most": MOST_COUNTED + 1,
            "limit": MAX_SHOWN,
        }
        return [_status(row) for row in await rows_of(self._pool, "user_projections/status", bounds, dict_row)]

    async def names(self) -> Sequence[str]:
        rows = await rows_of(self._pool, "user_projections/names", {"tenant": self._tenant, "limit": MAX_SHOWN})
        return [name for (name,) in rows]

    @asynccontextmanager
    async def forgetting(self, name: str) -> AsyncIterator[None]:
        """Delete its row at the end of the block, unless that raises; meanwhile nobody can begin to run it. Raises
        ProjectionRuns."""
        names = {"tenant": self._tenant, "name": name}
        async with self._pool.connection() as connection, connection.transaction():
            held = await connection.execute(sql.query("user_projections/try_lock_for_transaction"), names)
            if await held.fetchone() != (True,):
                raise ProjectionRuns(
                    f"the projection {name} runs now, or `fleetlog project` still holds it; stop that first",
                    "projection_runs",
                )
            yield
            await connection.execute(sql.query("user_projections/forget"), names)


def _status(row: dict[str, Any]) -> UserProjectionStatus:
    return UserProjectionStatus(
        projection=row["name"],
        status=row["status"],
        position=row["position"],
        lag_events=min(row["lag_events"], MOST_COUNTED),
        lag_is_more=row["lag_events"] > MOST_COUNTED,
        lag_is_counted=row["lag_is_counted"],
        lag_seconds=row["lag_seconds"],
        holder=None if row["status"] == "not running" else row["holder"],
        restarts=row["restarts"],
        error=row["error"],
        error_position=row["error_position"],
        error_type=row["error_type"],
        projection_class=row["class"],
        view_class=row["view_class"],
        heartbeat_at=row["heartbeat_at"],
    )


class HolderStatus(msgspec.Struct, kw_only=True):
    """What the holder of a projection says of it; see UserProjectionStatus."""

    name: str
    projection_class: str
    view_class: str
    topics: tuple[str, ...]
    holder: str
    status: State = "restarting"
    position: int = 0
    restarts: int = 0
    error_position: int | None = None
    error_type: str | None = None
    error: str | None = None


async def try_lock(connection: Connection, name: str, *, tenant: str = DEFAULT_TENANT) -> bool:
    """Take the lock of a projection for as long as the connection lives; False where another process has it."""
    cursor = await connection.execute(sql.query("user_projections/try_lock"), {"tenant": tenant, "name": name})
    return (await cursor.fetchone()) == (True,)


async def write_status(connection: Connection, status: HolderStatus, *, tenant: str = DEFAULT_TENANT) -> None:
    fields = msgspec.structs.asdict(status)
    fields["class"], fields["topics"] = fields.pop("projection_class"), list(status.topics)
    await connection.execute(sql.query("user_projections/write_status"), {"tenant": tenant, **fields})


async def create_schema(connection: Connection, schema: str) -> None:
    """Make a schema, unless it is there. Raises psycopg.errors.InsufficientPrivilege."""
    found = await connection.execute(sql.query("user_projections/has_schema"), {"schema": schema})
    if await found.fetchone() == (True,):
        return
    statement = composing.SQL(sql.query("user_projections/create_schema"))
    try:
        await connection.execute(statement.format(schema=composing.Identifier(schema)))
    except psycopg.errors.UniqueViolation:  # another process has made it at the same moment
        return
