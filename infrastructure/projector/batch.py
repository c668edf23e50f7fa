"""One page of the log, folded into several units and committed with their checkpoints: all of it or nothing."""

import asyncio
from collections.abc import Sequence
from typing import Any

import psycopg
from psycopg import AsyncConnection

import sql
from domain.record import RecordedEvent
from infrastructure.projector.log_page import LogPage, describe
from infrastructure.projector.row_tables import RowTables, stored
from infrastructure.projector.unit import Folded, RowKey, Touched, Unit, touched_rows

FOLDS_PER_TURN = 250
"""How many events are folded before other tasks of the event loop get their turn: about 5 ms."""


class Moved(Exception):
    """A unit is not where this process left it: another one has taken over, or its version was retired."""


class Refused(Exception):
    """The database refused what the folds made. Each event has to be tried by itself to find the one at fault."""


async def fold_page(
    connection: AsyncConnection[Any], tables: RowTables, units: Sequence[Unit], page: LogPage
) -> list[Folded]:
    """Fold the page into each unit, in memory; rows that aren't cached are loaded once."""
    return [
        await _fold_into(connection, tables, Folded(unit, page), touched)
        for unit, touched in zip(units, touched_rows(units, page), strict=True)
    ]


async def _fold_into(
    connection: AsyncConnection[Any], tables: RowTables, folded: Folded, touched: Sequence[Touched]
) -> Folded:
    unit = folded.unit
    known: dict[RowKey, Any] = {key: unit.cache.get(key) for key in {key for key, _ in touched}}
    if not unit.cache.complete:
        missing = [key for key, row in known.items() if row is None and key[1]]
        if missing:
            known.update(await tables.load(connection, unit, missing))
    for count, (key, entry) in enumerate(touched, 1):
        if not folded.fold(key, entry, known[key]):
            break
        if count % FOLDS_PER_TURN == 0:
            await asyncio.sleep(0)
    return folded


async def commit(connection: AsyncConnection[Any], tables: RowTables, folded: Sequence[Folded]) -> None:
    """Write rows and checkpoints in one transaction and one round trip; then the units are there.

    Raises Moved, or Refused when a row can't be written; then nothing was.
    """
    moving = [entry for entry in folded if entry.position > entry.unit.position]
    if not moving:
        return
    try:
        rows = [[stored(entry.unit, key, row) for key, row in entry.rows.items()] for entry in moving]
        async with connection.pipeline(), connection.transaction():
            await connection.execute(
                sql.query("projections/advance"),
                {
                    "projections": [entry.unit.name for entry in moving],
                    "versions": [entry.unit.version for entry in moving],
                    "before": [entry.unit.position for entry in moving],
                    "after": [entry.position for entry in moving],
                },
            )
            for entry, unit_rows in zip(moving, rows, strict=True):
                if unit_rows:
                    await tables.write(connection, entry.unit, unit_rows)
                if entry.snapshots:
                    await _keep(connection, entry)
    except psycopg.errors.SerializationFailure as error:
        raise Moved(str(error)) from error
    except (psycopg.OperationalError, psycopg.InterfaceError):
        raise
    except (psycopg.Error, ValueError, TypeError, OverflowError) as error:
        raise Refused(describe(error)) from error
    for entry in moving:
        entry.unit.cache.put(entry.rows)
        entry.unit.position = entry.position


async def _keep(connection: AsyncConnection[Any], folded: Folded) -> None:
    """Keep rows within long streams; versions of the same fold make the same ones."""
    projection, kept = folded.unit.projection, folded.snapshots
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


async def apply_one_by_one(connection: AsyncConnection[Any], tables: RowTables, unit: Unit, page: LogPage) -> Folded:
    """Apply a refused page event by event, up to the one at fault; the unit is right before it then."""
    for touched in touched_rows([unit], page)[0]:
        _, entry = touched
        single = LogPage(after=unit.position, up_to=entry.position, events=[entry], at_end=False)
        folded = await _fold_into(connection, tables, Folded(unit, single), [touched])
        try:
            await commit(connection, tables, [folded])
        except Refused as refused:
            type_ = entry.event.wire_name if isinstance(entry, RecordedEvent) else entry.type
            before = Folded(unit, single)
            before.stop_before(entry.position, type_, str(refused))
            await commit(connection, tables, [before])
            return before
        if folded.problem is not None:
            return folded
    rest = Folded(unit, page)
    await commit(connection, tables, [rest])
    return rest
