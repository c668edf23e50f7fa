"""The tables of the read models: rows loaded and written many at a time."""

from collections.abc import Iterable, Sequence
from typing import Any, Literal

from psycopg import AsyncConnection
from psycopg import sql as composing

import sql
from infrastructure.projector.unit import RowKey, Unit

MAX_COLUMN_TEXT = 600
OWN_COLUMNS = 4
"""version, tenant, key, body."""

Schema = Literal["read_models", "past"]
"""`past` holds what read models were as of a position, see sql/migrations/0700_past_read_models.sql."""


def template(name: str, **parts: composing.Composable) -> composing.Composed:
    """A named query with its table and columns filled in."""
    return composing.SQL(sql.query(name)).format(**parts)


def table(projection: str, schema: Schema = "read_models") -> composing.Identifier:
    return composing.Identifier(schema, projection)


class RowTables:
    """`columns` by table, as the database has them; the tables of both schemas have the same."""

    def __init__(self, columns: dict[str, list[str]], schema: Schema = "read_models") -> None:
        self.columns, self.schema = columns, schema
        self._upserts = {name: upsert(name, names[OWN_COLUMNS:], schema) for name, names in columns.items()}

    @classmethod
    async def read(cls, connection: AsyncConnection[Any], schema: Schema = "read_models") -> "RowTables":
        cursor = await connection.execute(sql.query("projections/table_columns"))
        return cls(dict(await cursor.fetchall()), schema)

    async def load(self, connection: AsyncConnection[Any], unit: Unit, keys: Sequence[RowKey]) -> dict[RowKey, Any]:
        """The rows of these keys, as far as there are any."""
        cursor = await connection.execute(
            template("projections/load_rows", table=table(unit.name, self.schema)),
            {"version": unit.version, "tenants": [key[0] for key in keys], "keys": [key[1] for key in keys]},
        )
        decode = unit.projection.decode
        return {(tenant, key): decode(body) for tenant, key, body in await cursor.fetchall()}

    async def write(self, connection: AsyncConnection[Any], unit: Unit, rows: Iterable[tuple[Any, ...]]) -> None:
        """Upsert what `stored` made of rows."""
        await connection.cursor().executemany(self._upserts[unit.name], list(rows))


def stored(unit: Unit, key: RowKey, row: Any) -> tuple[Any, ...]:
    """A row as its table takes it."""
    return (unit.version, *key, unit.projection.encode(row).decode(), *map(storable, unit.projection.columns(row)))


def storable(value: Any) -> Any:
    """A column's value, or one to compare it with. Postgres refuses NUL in texts, and very long ones in indexes."""
    if isinstance(value, list):
        return [storable(element) for element in value]
    return value[:MAX_COLUMN_TEXT].replace("\0", "\u2400") if isinstance(value, str) else value


def upsert(name: str, columns: Sequence[str], schema: Schema = "read_models") -> composing.Composed:
    """The statement that writes one row of a table, given its columns after the first four."""
    names = [composing.Identifier(column) for column in columns]
    set_all = [composing.SQL("{0} = excluded.{0}").format(column) for column in [composing.Identifier("body"), *names]]
    return template(
        "projections/upsert_row",
        table=table(name, schema),
        columns=composing.SQL(", ").join(
            [composing.Identifier(c) for c in ("version", "tenant", "key", "body")] + names
        ),
        values=composing.SQL(", ").join([composing.Placeholder()] * (OWN_COLUMNS + len(names))),
        assignments=composing.SQL(", ").join(set_all),
    )
