"""`append_events` as a prepared statement, called one level below psycopg's cursors.

A cursor adapts each parameter and fetches types and rows by way of Python; here all parameters are ready binary values
and the answer is one text. That is worth a tenth of a lone caller's append.
"""

from collections.abc import Generator, Sequence
from typing import Any

from psycopg import AsyncConnection, Connection, errors, generators
from psycopg.pq import ExecStatus, Format
from psycopg.pq.abc import PGconn, PGresult

import sql
from infrastructure.eventstore.batch import Answer, answer
from infrastructure.postgres.sessions import connect, connect_thread

_NAME = b"append_events"
_BINARY = [Format.BINARY] * 12


class AsyncAppendConnection:
    """A connection of its own for one committer."""

    def __init__(self, connection: AsyncConnection[Any]) -> None:
        self._connection = connection

    @classmethod
    async def open(cls, dsn: str) -> "AsyncAppendConnection":
        connection = await connect(dsn)
        await connection.execute(sql.query("prepare_append_events"))
        return cls(connection)

    async def append(self, parameters: Sequence[bytes]) -> Answer:
        """Raises psycopg.Error."""
        results = await self._connection.wait(_call(self._connection.pgconn, parameters))
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
        connection.execute(sql.query("prepare_append_events"))
        return cls(connection)

    def append(self, parameters: Sequence[bytes]) -> Answer:
        """Raises psycopg.Error."""
        return _answer(self.connection.wait(_call(self.connection.pgconn, parameters)))

    def close(self) -> None:
        self.connection.close()


def _call(pgconn: PGconn, parameters: Sequence[bytes]) -> Generator[Any, Any, list[PGresult]]:
    pgconn.send_query_prepared(_NAME, parameters, _BINARY, Format.BINARY)
    results: list[PGresult] = yield from generators.execute(pgconn)
    return results


def _answer(results: list[PGresult]) -> Answer:
    result = results[-1]
    if result.status != ExecStatus.TUPLES_OK:
        raise errors.error_from_result(result)
    text = result.get_value(0, 0)
    assert text is not None
    return answer(text)
