"""The EventSearch port on Postgres: positions first, from the index that leads there fastest, then the events.

By actor, correlation and text the index of the log (indexer.py) is asked. Of what it does not have yet, actors and
correlations are read off the log itself; texts are found up to where the index is.
"""

from datetime import datetime
from typing import Any

from psycopg import AsyncConnection

import sql
from application.ports.event_streams import EventFilter, EventPage
from domain.errors import InvalidInput
from domain.identifiers import DEFAULT_TENANT
from infrastructure.postgres.connections import Pool
from infrastructure.postgres.event_store.event_json import event_json
from infrastructure.postgres.event_store.reading import StoredRow, stored_row_factory
from projections.search_terms import terms_of_text

PAGE_BYTES = 8 * 1024 * 1024
MAX_WORDS = 20
NEAR_POSITIONS = 20_000
_INDEXED = {
    "text": "i.words @@ %(words)s::tsquery",
    "actor": "i.actor = %(actor)s",
    "correlation_id": "i.correlation_id = %(correlation_id)s",
}
_JOINED = {"types": "e.type = ANY (%(types)s::text[])", "stream": "e.stream = %(stream)s"}


class PostgresEventSearch:
    def __init__(self, pool: Pool, *, tenant: str = DEFAULT_TENANT) -> None:
        self._pool, self._tenant = pool, tenant

    async def find(self, wanted: EventFilter, after: int, limit: int) -> EventPage:
        """At most `limit` events after a position, in order. Raises InvalidInput for a position beyond the log's end,
        and for a text without any word."""
        query = _query(wanted)
        async with self._pool.connection() as connection:
            end, indexed, before_first, last = await self._bounds(connection, wanted)
            if after > end:
                raise InvalidInput("after", f"{after} is beyond the log's last position, {end}")
            if wanted.text:
                end = min(end, indexed)
            first = max(after, before_first or 0)
            up_to = end if wanted.recorded_to is None else min(end, last or 0)
            bounds = {"after": first, "up_to": up_to, "limit": limit}
            positions = await self._positions(connection, wanted, query, indexed, bounds)
            rows = await self._events(connection, positions)
        # A page is cut at its limit, or where its events are too large together.
        cut = len(positions) == limit or len(rows) < len(positions)
        reached = rows[-1].position if cut and rows else max(end, after)
        return EventPage(events=[event_json(row) for row in rows], last=reached, more=cut and reached < up_to)

    async def indexed(self) -> int:
        """The position up to which texts are found."""
        async with self._pool.connection() as connection:
            row = await (await connection.execute(sql.query("search/checkpoint"))).fetchone()
        return int(row[0]) if row else 0

    async def _bounds(
        self, connection: AsyncConnection[Any], wanted: EventFilter
    ) -> tuple[int, int, int | None, int | None]:
        times: dict[str, datetime | None] = {
            "recorded_from": wanted.recorded_from,
            "recorded_to": wanted.recorded_to,
        }
        row = await (await connection.execute(sql.query("search/bounds"), times)).fetchone()
        assert row is not None
        end, indexed, before_first, last = row
        return end, indexed, before_first if wanted.recorded_from else None, last if wanted.recorded_to else None

    async def _positions(
        self,
        connection: AsyncConnection[Any],
        wanted: EventFilter,
        query: tuple[str, dict[str, Any]],
        indexed: int,
        bounds: dict[str, int],
    ) -> list[int]:
        statement, arguments = query
        if not (wanted.text or wanted.actor or wanted.correlation_id):
            return await self._fetch(connection, statement, arguments | bounds)
        known = bounds | {"up_to": min(bounds["up_to"], indexed)}
        search = self._of_text if wanted.text else self._fetch
        positions = await search(connection, statement, arguments | known)
        if not wanted.text and len(positions) < bounds["limit"] and indexed < bounds["up_to"]:
            rest = bounds | {"after": max(bounds["after"], indexed), "limit": bounds["limit"] - len(positions)}
            positions += await self._fetch(connection, sql.query("search/by_metadata"), _all(wanted) | rest)
        return positions

    async def _of_text(self, connection: AsyncConnection[Any], statement: str, arguments: dict[str, Any]) -> list[int]:
        """A word that is frequent is soon found by looking at the next events; one that is rare, by the index of words.
        The planner can't know which one it is."""
        near = min(arguments["after"] + NEAR_POSITIONS, arguments["up_to"])
        positions = await self._fetch(connection, statement, arguments | {"up_to": near})
        missing = arguments["limit"] - len(positions)
        if missing and near < arguments["up_to"]:
            # An order that no index has: all matches are fetched from the index of words, and sorted.
            rare = statement.replace("ORDER BY i.position", "ORDER BY i.position + 0")
            positions += await self._fetch(connection, rare, arguments | {"after": near, "limit": missing})
        return positions

    async def _fetch(self, connection: AsyncConnection[Any], statement: str, arguments: dict[str, Any]) -> list[int]:
        if arguments["up_to"] <= arguments["after"]:
            return []
        cursor = await connection.execute(statement, {"tenant": self._tenant, **arguments})
        return [position for (position,) in await cursor.fetchall()]

    async def _events(self, connection: AsyncConnection[Any], positions: list[int]) -> list[StoredRow]:
        if not positions:
            return []
        async with connection.cursor(binary=True, row_factory=stored_row_factory) as cursor:
            await cursor.execute(sql.query("search/events"), {"positions": positions, "max_bytes": PAGE_BYTES})
            rows: list[StoredRow] = await cursor.fetchall()
            return rows


def _query(wanted: EventFilter) -> tuple[str, dict[str, Any]]:
    """The statement that leads to the positions fastest, and its arguments but for tenant and bounds."""
    arguments = _all(wanted)
    indexed = [condition for name, condition in _INDEXED.items() if getattr(wanted, name)]
    if indexed:
        joined = [condition for name, condition in _JOINED.items() if getattr(wanted, name)]
        text = sql.query("search/by_index").replace("/* wanted */", " AND ".join([*indexed, *joined]))
        return text.replace("/* joined */", "JOIN events e USING (position)" if joined else ""), arguments
    if wanted.stream:
        return sql.query("search/by_stream"), arguments
    if wanted.types:
        return sql.query("search/by_type"), arguments
    return sql.query("search/by_metadata"), arguments


def _all(wanted: EventFilter) -> dict[str, Any]:
    words = sorted(terms_of_text(wanted.text))
    if wanted.text and not words:
        raise InvalidInput("text", "has no word in it: letters, digits or underscores")
    if len(words) > MAX_WORDS:
        raise InvalidInput("text", f"has {len(words)} words; at most {MAX_WORDS} are searched for")
    return {
        "words": " & ".join(f"'{word}'" for word in words),
        "actor": wanted.actor,
        "correlation_id": wanted.correlation_id,
        "stream": wanted.stream,
        "types": list(wanted.types),
    }
