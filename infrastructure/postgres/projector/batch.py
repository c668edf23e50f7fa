"""One page of the log, folded into several versions and committed with their checkpoints: all of it or nothing."""

from collections.abc import Sequence
from typing import Any

import psycopg
from psycopg import AsyncConnection

import sql
from application.turns import Turn
from domain.operations.log_consumer import BlockingEvent, describe
from domain.record import RecordedEvent
from infrastructure.postgres.projector.log_page import LogPage
from infrastructure.postgres.projector.projected_version import Folded, ProjectedVersion, RowKey, Touched, touched_rows
from infrastructure.postgres.projector.row_tables import RowTables, body_size, encoded_rows


class CheckpointMoved(Exception):
    """A version's checkpoint is not where this process left it: another one has taken over, or it was retired."""


class BatchRejected(Exception):
    """The database refused the rows that the folds made. To find the event at fault, each is tried by itself."""


async def fold_page(
    connection: AsyncConnection[Any], tables: RowTables, versions: Sequence[ProjectedVersion], page: LogPage
) -> list[Folded]:
    """Fold the page into each version, in memory; rows that aren't cached are loaded once."""
    return [
        await _fold_into(connection, tables, Folded(projected, page), touched)
        for projected, touched in zip(versions, await touched_rows(versions, page), strict=True)
    ]


async def _fold_into(
    connection: AsyncConnection[Any], tables: RowTables, folded: Folded, touched: Sequence[Touched]
) -> Folded:
    projected = folded.projected
    known: dict[RowKey, Any] = {key: projected.cache.get(key) for key in {key for key, _ in touched}}
    if not projected.cache.complete:
        missing = [key for key, row in known.items() if row is None and key[1]]
        if missing:
            known.update(await tables.load(connection, projected, missing))
    turn = Turn()
    for key, entry in touched:
        if not folded.fold(key, entry, known[key]):
            break
        if turn.over:
            await turn.next()
    return folded


async def commit(connection: AsyncConnection[Any], tables: RowTables, folded: Sequence[Folded]) -> None:
    """Write rows and checkpoints in one transaction and one round trip, then set the versions' positions.

    Raises CheckpointMoved, or BatchRejected when a row can't be written; then nothing was.
    """
    moving = [entry for entry in folded if entry.position > entry.projected.position]
    if not moving:
        return
    try:
        rows = [await encoded_rows(entry.projected, entry.rows) for entry in moving]
        async with connection.pipeline(), connection.transaction():
            await connection.execute(
                sql.query("projections/advance"),
                {
                    "projections": [entry.projected.name for entry in moving],
                    "versions": [entry.projected.version for entry in moving],
                    "before": [entry.projected.position for entry in moving],
                    "after": [entry.position for entry in moving],
                },
            )
            for entry, its_rows in zip(moving, rows, strict=True):
                if its_rows:
                    await tables.write(connection, entry.projected, its_rows)
                if entry.snapshots:
                    await _keep(connection, entry)
    except psycopg.errors.SerializationFailure as error:
        raise CheckpointMoved(str(error)) from error
    except (psycopg.OperationalError, psycopg.InterfaceError):
        raise
    except (psycopg.Error, ValueError, TypeError, OverflowError) as error:
        raise BatchRejected(describe(error)) from error
    for entry, its_rows in zip(moving, rows, strict=True):
        entry.projected.cache.put(entry.rows, map(body_size, its_rows))
        entry.projected.position = entry.position


async def _keep(connection: AsyncConnection[Any], folded: Folded) -> None:
    """Keep rows within long streams; versions of the same fold make the same ones."""
    projection, kept = folded.projected.projection, folded.snapshots
    await connection.execute(
        sql.query("projections/keep_snapshots"),
        {
            "projection": projection.name,
            "fold_version": projection.version,
            "tenants": [snapshot.tenant for snapshot in kept],
            "streams": [snapshot.stream for snapshot in kept],
            "seqs": [snapshot.seq for snapshot in kept],
            "bodies": [projection.encode(snapshot.row).decode() for snapshot in kept],
        },
    )


async def apply_one_by_one(
    connection: AsyncConnection[Any], tables: RowTables, projected: ProjectedVersion, page: LogPage
) -> Folded:
    """Apply a rejected page event by event, up to the one at fault; the version is right before it then."""
    for touched in (await touched_rows([projected], page))[0]:
        _, entry = touched
        single = LogPage(after=projected.position, up_to=entry.position, events=[entry], at_end=False)
        folded = await _fold_into(connection, tables, Folded(projected, single), [touched])
        try:
            await commit(connection, tables, [folded])
        except BatchRejected as rejected:
            type_ = entry.event.wire_name if isinstance(entry, RecordedEvent) else entry.type
            before = Folded(projected, single)
            before.stop_before(BlockingEvent(position=entry.position, type=type_, error=str(rejected)))
            await commit(connection, tables, [before])
            return before
        if folded.blocking is not None:
            return folded
    rest = Folded(projected, page)
    await commit(connection, tables, [rest])
    return rest
