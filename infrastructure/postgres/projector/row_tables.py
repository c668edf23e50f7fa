"""The tables of the read models: rows loaded and written many at a time."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

import psycopg
from psycopg import AsyncConnection
from psycopg import sql as composing
from psycopg.adapt import Dumper
from psycopg.pq import Format

import sql
from application.turns import Turn
from infrastructure.postgres.event_store.binary_values import nullable_text_array
from infrastructure.postgres.projector.projected_version import ProjectedVersion, RowKey

MAX_COLUMN_TEXT = 600
MAX_STATEMENT_BYTES = 8 * 1024 * 1024
"""Of rows as JSON: the arrays of a statement are made at a stretch."""
OWN_COLUMNS = 4
"""version, tenant, key, body."""

EncodedRow = tuple[bytes | None, ...]
"""Tenant, key, body and columns as UTF-8 texts."""

_CASTS = {"text": "", "numeric": "::double precision::numeric"}
"""The casts that are not `::type`. Numbers with a fraction come from Python's floats."""

Schema = Literal["read_models", "past"]
"""`past` holds what read models were as of a position, see sql/migrations/0700_past_read_models.sql."""


def template(name: str, **parts: composing.Composable) -> composing.Composed:
    """A named query with its table and columns filled in."""
    return composing.SQL(sql.query(name)).format(**parts)


def table(projection: str, schema: Schema = "read_models") -> composing.Identifier:
    return composing.Identifier(schema, projection)


class TextArray(bytes):
    """A parameter of type text[], in its binary wire format."""


class _TextArrayDumper(Dumper):
    format = Format.BINARY
    oid = 1009

    def dump(self, obj: Any) -> bytes:
        return bytes(obj)


psycopg.adapters.register_dumper(TextArray, _TextArrayDumper)


class RowTables:
    """`columns` by table, as the database has them, and their `types`; the tables of both schemas have the same."""

    def __init__(
        self, columns: dict[str, list[str]], types: dict[str, list[str]], schema: Schema = "read_models"
    ) -> None:
        self.columns, self.schema, self._types = columns, schema, types
        self._upserts: dict[tuple[str, int], str] = {}
        self._loads = {
            name: template("projections/load_rows", table=table(name, schema)).as_string() for name in columns
        }

    @classmethod
    async def read(cls, connection: AsyncConnection[Any], schema: Schema = "read_models") -> "RowTables":
        cursor = await connection.execute(sql.query("projections/table_columns"))
        rows = await cursor.fetchall()
        return cls({row[0]: row[1] for row in rows}, {row[0]: row[2] for row in rows}, schema)

    async def load(
        self, connection: AsyncConnection[Any], projected: ProjectedVersion, keys: Sequence[RowKey]
    ) -> dict[RowKey, Any]:
        """The rows of these keys; keys without a row are left out."""
        cursor = await connection.execute(
            self._loads[projected.name],
            {"version": projected.version, "tenants": [key[0] for key in keys], "keys": [key[1] for key in keys]},
        )
        loaded: dict[RowKey, Any] = {}
        turn = Turn()
        for tenant, key, body in await cursor.fetchall():
            loaded[tenant, key] = projected.projection.decode(body)
            if turn.over:
                await turn.next()
        return loaded

    async def write(
        self, connection: AsyncConnection[Any], projected: ProjectedVersion, rows: Sequence[EncodedRow]
    ) -> None:
        """Upsert what `encoded_rows` made of rows, no two of one key; MAX_STATEMENT_BYTES at a time."""
        for part in _parts(rows):
            arrays = [TextArray(nullable_text_array(column)) for column in zip(*part, strict=True)]
            statement = self._upsert(projected.name, len(arrays))
            await connection.execute(statement, (projected.version, *arrays), prepare=True)

    def _upsert(self, name: str, given: int) -> str:
        """The statement for rows of `given` values. A table may have more columns: newer code has added them."""
        if (name, given) not in self._upserts:
            columns = slice(OWN_COLUMNS, given + 1)
            statement = upsert(name, self.columns[name][columns], self._types[name][columns], self.schema)
            self._upserts[name, given] = statement.as_string()
        return self._upserts[name, given]


async def encoded_rows(projected: ProjectedVersion, rows: Mapping[RowKey, Any]) -> list[EncodedRow]:
    """Rows as their table takes them, but for the version."""
    encoded: list[EncodedRow] = []
    turn = Turn()
    for (tenant, name), row in rows.items():
        columns = projected.projection.columns(row)
        encoded.append((tenant.encode(), name.encode(), projected.projection.encode(row), *map(_as_text, columns)))
        if turn.over:
            await turn.next()
    return encoded


def body_size(row: EncodedRow) -> int:
    """The bytes of an encoded row's JSON."""
    return len(row[2] or b"")


def _parts(rows: Sequence[EncodedRow]) -> Iterator[Sequence[EncodedRow]]:
    begin, size = 0, 0
    for index, row in enumerate(rows):
        size += body_size(row)
        if size >= MAX_STATEMENT_BYTES:
            yield rows[begin : index + 1]
            begin, size = index + 1, 0
    if begin < len(rows):
        yield rows[begin:]


def _as_text(value: Any) -> bytes | None:
    """A column's value as Postgres reads it from a text."""
    if value is None:
        return None
    if isinstance(value, str):
        return str(storable(value)).encode()
    return (value.isoformat() if isinstance(value, datetime) else str(value)).encode()


def storable(value: Any) -> Any:
    """A column's value, or one to compare it with. Postgres refuses NUL in texts, and very long ones in indexes."""
    if isinstance(value, list):
        return [storable(element) for element in value]
    return value[:MAX_COLUMN_TEXT].replace("\0", "\u2400") if isinstance(value, str) else value


def upsert(
    name: str, columns: Sequence[str], types: Sequence[str], schema: Schema = "read_models"
) -> composing.Composed:
    """The statement that writes rows of a table, given its columns after the first four, and their types."""
    names = [composing.Identifier(column) for column in columns]
    given = [composing.Identifier(column) for column in ("tenant", "key", "body", *columns)]
    casts = [_CASTS.get(type_, f"::{type_}") for type_ in ("text", "text", "json", *types)]
    values: list[composing.Composable] = [composing.SQL("%s::integer")]
    values += [composing.SQL("{}" + cast).format(column) for column, cast in zip(given, casts, strict=True)]
    set_all = [composing.SQL("{0} = excluded.{0}").format(column) for column in [composing.Identifier("body"), *names]]
    return template(
        "projections/upsert_rows",
        table=table(name, schema),
        columns=composing.SQL(", ").join([composing.Identifier("version"), *given]),
        values=composing.SQL(", ").join(values),
        arrays=composing.SQL(", ").join([composing.Placeholder()] * len(given)),
        given=composing.SQL(", ").join(given),
        assignments=composing.SQL(", ").join(set_all),
    )
