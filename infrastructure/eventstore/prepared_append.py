"""`append_events` and `append_event` as prepared statements, called one level below psycopg's cursors.

A cursor adapts each parameter and fetches types and rows by way of Python; here all parameters are ready binary values
and the answer is one text. That is worth a tenth of a lone caller's append.
"""

from collections.abc import Generator
from typing import Any

from psycopg import AsyncConnection, Connection, errors, generators
from psycopg.pq import ExecStatus, Format
from psycopg.pq.abc import PGconn, PGresult

import sql
from infrastructure.eventstore.batch import Answer, Call, answer
from infrastructure.postgres.sessions import connect, connect_thread

_STATEMENTS = ("prepare_append_events", "prepare_append_event")


class AsyncAppendConnection:
    """A connection of its own for one committer."""

    def __init__(self, connection: AsyncConnection[Any]) -> None:
        self._connection = connection

    @classmethod
    async def open(cls, dsn: str) -> "AsyncAppendConnection":
        connection = await connect(dsn)
        for statement in _STATEMENTS:
            await connection.execute(sql.query(statement))
        return cls(connection)

    async def append(self, call: Call) -> Answer:
        """Raises psycopg.Error."""
        results = await self._connection.wait(_send(self._connection.pgconn, call))
        return _answer(results)

    async def close(self) -> None:
        await self._connection.close()


class AppendConnection:
    """The same for threads; one at a time."""

    def __init__(self, connection: Connection[Any]) -> None:
        self.connection = connection

    @classmethod
    def open(cls, dsn: str) -> "AppendConnection":
        connection = connect_thread(dsn)
        for statement in _STATEMENTS:
            connection.execute(sql.query(statement))
        return cls(connection)

    def append(self, call: Call) -> Answer:
        """Raises psycopg.Error."""
        return _answer(self.connection.wait(_send(self.connection.pgconn, call)))

    def close(self) -> None:
        self.connection.close()


def _send(pgconn: PGconn, call: Call) -> Generator[Any, Any, list[PGresult]]:
    formats = [Format.BINARY] * len(call.arguments)
    pgconn.send_query_prepared(call.function, call.arguments, formats, Format.BINARY)
    results: list[PGresult] = yield from generators.execute(pgconn)
    return results


def _answer(results: list[PGresult]) -> Answer:
    result = results[-1]
    if result.status != ExecStatus.TUPLES_OK:
        raise errors.error_from_result(result)
    text = result.get_value(0, 0)
    assert text is not None
    return answer(text)
