"""Read models as of a position: folded again out of the log into the schema `past`, and kept while they are asked for.

Raises NotBuiltYet (projections/ports.py) while it is being built, CannotBeBuilt when an event before the position can't
be applied, WrittenByNewerVersion when this code can't read one.
"""

import asyncio
from collections.abc import Sequence
from functools import cache
from typing import Any

from psycopg import AsyncConnection
from psycopg import sql as composing

import sql
from application.operations.consumer_control import ProjectionControl
from application.task_cancellation import cancel_and_wait
from domain.event import WrittenByNewerVersion
from infrastructure.postgres.connections import Pool
from infrastructure.postgres.projector.batch import fold_page
from infrastructure.postgres.projector.log_page import read_page
from infrastructure.postgres.projector.projected_version import ProjectedVersion
from infrastructure.postgres.projector.row_tables import RowTables, body_size, encoded_rows, table, template
from infrastructure.postgres.read_models.past import UnreadableEvent
from projections.ports import NotBuiltYet
from projections.projection import Projection

PAGE_POSITIONS = 10_000
KEPT_VERSIONS = 8
"""Of each projection; more, up to MOST_VERSIONS, only while they are in use."""
MOST_VERSIONS = 64
UNUSED_AFTER = "5s"
WAIT_S = 25.0
MOST_BUILDS = 8
BUILD_TIMEOUT_S = 600.0
BUILD_SETTINGS = {"synchronous_commit": "off", "lock_timeout": "600s", "statement_timeout": "120s"}
"""For the sessions of `pool`: a builder waits for the one before it."""


class CannotBeBuilt(UnreadableEvent):
    """An event before that moment can't be applied; the message names it."""


class PastVersions:
    """`pool` opens its sessions with BUILD_SETTINGS. A build goes on when its callers stop waiting."""

    def __init__(self, pool: Pool, control: ProjectionControl) -> None:
        self._pool, self._control = pool, control
        self._building: dict[tuple[str, int], asyncio.Task[int]] = {}

    async def close(self) -> None:
        """End the builds that are under way; their transactions leave nothing behind."""
        await cancel_and_wait(list(self._building.values()))

    async def version(self, projection: Projection[Any], position: int, *, wait_s: float = WAIT_S) -> int:
        """The number under which `past` has this read model as of the position, which the log must have. Raises
        NotBuiltYet, CannotBeBuilt, WrittenByNewerVersion."""
        found = await self._find(projection, position)
        if found is not None:
            return found
        key = projection.name, position
        task = self._building.get(key)
        if task is None:
            if len(self._building) >= MOST_BUILDS:
                raise NotBuiltYet(f"{MOST_BUILDS} past states are being built; ask again")
            task = asyncio.create_task(self._build(projection, position), name=f"past {projection.name} at {position}")
            self._building[key] = task
            task.add_done_callback(lambda done: self._ended(key, done))
        await asyncio.wait({task}, timeout=wait_s)
        if not task.done():
            raise NotBuiltYet(f"the read model {projection.name} as of position {position} is being built; ask again")
        return task.result()

    def _ended(self, key: tuple[str, int], task: asyncio.Task[int]) -> None:
        self._building.pop(key, None)
        if not task.cancelled():
            task.exception()  # retrieved, or asyncio logs it; callers that wait get it, too

    async def _find(self, projection: Projection[Any], position: int) -> int | None:
        async with self._pool.connection() as connection:
            cursor = await connection.execute(sql.query("past/find"), _named(projection, position))
            row = await cursor.fetchone()
        return row[0] if row else None

    async def _build(self, projection: Projection[Any], position: int) -> int:
        skips = (await self._control.load(projection.name)).skips(projection.version)
        async with asyncio.timeout(BUILD_TIMEOUT_S), self._pool.connection() as connection, connection.transaction():
            tables = await RowTables.read(connection, "past")
            await connection.execute(sql.query("past/lock"), {"projection": projection.name})
            arguments = _named(projection, position)
            known = await (await connection.execute(sql.query("past/find"), arguments)).fetchone()
            if known is not None:
                return int(known[0])
            await self._make_room(connection, projection)
            before = await (await connection.execute(sql.query("past/nearest"), arguments)).fetchone()
            begun = await (await connection.execute(sql.query("past/begin"), arguments)).fetchone()
            assert begun is not None
            projected = ProjectedVersion(projection, begun[0], state="building", position=0, skips=skips)
            if before is not None:
                projected.cache.complete, projected.position = False, before[1]
                await _copy_rows(connection, tables, projected, before[0])
            await _fold_up_to(connection, tables, projected, position)
            return int(begun[0])

    async def _make_room(self, connection: AsyncConnection[Any], projection: Projection[Any]) -> None:
        parameters = {
            "projection": projection.name,
            "keep": KEPT_VERSIONS - 1,
            "most": MOST_VERSIONS - 1,
            "unused": UNUSED_AFTER,
        }
        forgotten = await (await connection.execute(sql.query("past/forget"), parameters)).fetchall()
        if forgotten:
            await connection.execute(
                template("past/delete_rows", table=table(projection.name, "past")),
                {"versions": [version for (version,) in forgotten]},
            )


async def _copy_rows(
    connection: AsyncConnection[Any], tables: RowTables, projected: ProjectedVersion, from_version: int
) -> None:
    columns = composing.SQL(", ").join(composing.Identifier(column) for column in tables.columns[projected.name][1:])
    await connection.execute(
        template("past/copy_rows", table=table(projected.name, "past"), columns=columns),
        {"version": projected.version, "from_version": from_version},
    )


async def _fold_up_to(
    connection: AsyncConnection[Any], tables: RowTables, projected: ProjectedVersion, position: int
) -> None:
    types: Sequence[str] = sorted(projected.projection.event_types)
    while projected.position < position:
        up_to = min(projected.position + PAGE_POSITIONS, position)
        page = await read_page(connection, after=projected.position, up_to=up_to, types=types)
        (folded,) = await fold_page(connection, tables, [projected], page)
        blocking = folded.blocking
        if blocking is not None:
            raise (WrittenByNewerVersion if blocking.newer else CannotBeBuilt)(
                f"{projected.name} can't be built as of position {position}: the event at position {blocking.position} "
                f"({blocking.type}) can't be applied: {blocking.error}"
            )
        rows = await encoded_rows(projected, folded.rows)
        if rows:
            async with connection.pipeline():
                await tables.write(connection, projected, rows)
        projected.cache.put(folded.rows, map(body_size, rows))
        projected.position = folded.position


def _named(projection: Projection[Any], position: int) -> dict[str, Any]:
    return {"projection": projection.name, "fold_version": projection.version, "position": position}


@cache
def past_query(name: str) -> str:
    """A named query of the read models, reading the past one with the number %(past_version)s instead."""
    version = "(SELECT *, 'active' AS state FROM past.versions WHERE version = %(past_version)s) v"
    return sql.query(name).replace("read_models.", "past.").replace("projection_versions v", version)
