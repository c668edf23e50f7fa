"""What the recorders of one factory share: connections for reading, the group commit, and one listening thread."""

import contextlib
from collections.abc import Iterator
from typing import Any

from psycopg import Connection

import sql
from infrastructure.eventstore.notifier import ThreadNotifier
from infrastructure.eventstore.thread_commit import ThreadGroupCommit
from infrastructure.postgres.sessions import thread_pool


class LogConnections:
    """For any number of threads. Nothing is connected before it is used."""

    def __init__(self, dsn: str, *, tenant: str, pool_size: int) -> None:
        self.tenant = tenant
        self.commits = ThreadGroupCommit(dsn, tenant=tenant)
        self.notifier = ThreadNotifier(dsn)
        self._pool = thread_pool(dsn, size=pool_size)

    @contextlib.contextmanager
    def connection(self) -> Iterator[Connection[Any]]:
        self._pool.open()
        with self._pool.connection() as connection:
            yield connection

    def rows(self, query: str, *, row_factory: Any = None, **arguments: Any) -> list[Any]:
        """All rows of a named query of this tenant."""
        with self.connection() as connection, connection.cursor(binary=True, row_factory=row_factory) as cursor:
            return cursor.execute(sql.query(query), {"tenant": self.tenant, **arguments}, prepare=True).fetchall()

    def close(self) -> None:
        self.notifier.close()
        self.commits.close()
        self._pool.close()
