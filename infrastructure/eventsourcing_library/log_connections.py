"""What the recorders of one factory share: connections for reading, the group commit, and one listening thread.

psycopg's errors come out as those of the `eventsourcing` library, which has the same ones of PEP 249; those of the
event store are the library's already.
"""

import contextlib
import time
from collections.abc import Iterator, Sequence
from typing import Any
from uuid import UUID

import psycopg
from eventsourcing.persistence import (
    DataError,
    IntegrityError,
    InterfaceError,
    OperationalError,
    PersistenceError,
    Tracking,
)
from psycopg import Connection

import sql
from application.ports.event_store import AppendResult
from infrastructure.eventsourcing_library.notifier import ThreadNotifier
from infrastructure.eventsourcing_library.thread_commit import ThreadGroupCommit
from infrastructure.postgres.connections import thread_pool
from infrastructure.postgres.event_store.append_request import AppendRequest
from infrastructure.postgres.event_store.reading import PAGE_BYTES
from infrastructure.postgres.retrying import RETRY_DELAY_SECONDS, RETRY_SECONDS

CLOSE_TIMEOUT_SECONDS = 5
_LIBRARY_ERRORS: tuple[tuple[type[psycopg.Error], type[PersistenceError]], ...] = (
    (psycopg.IntegrityError, IntegrityError),
    (psycopg.DataError, DataError),
    (psycopg.OperationalError, OperationalError),
    (psycopg.InterfaceError, InterfaceError),
    (psycopg.Error, PersistenceError),
)


@contextlib.contextmanager
def library_errors() -> Iterator[None]:
    """Raise the library's exceptions in place of psycopg's."""
    try:
        yield
    except psycopg.Error as error:
        library_error = next(theirs for ours, theirs in _LIBRARY_ERRORS if isinstance(error, ours))
        raise library_error(str(error)) from error


class LogConnections:
    """For any number of threads. Nothing is connected before it is used. Closed when nobody refers to it any more: the
    library's ProjectionRunner closes no factory but that of its application."""

    def __init__(self, dsn: str, *, tenant: str, pool_size: int, id_type: type[UUID] | type[str] = str) -> None:
        """`id_type`: what originator ids are given back as."""
        self.tenant, self.id_type = tenant, id_type
        self._commits = ThreadGroupCommit(dsn, tenant=tenant)
        self.notifier = ThreadNotifier(dsn)
        self._pool = thread_pool(dsn, size=pool_size)
        self._closed = False

    @contextlib.contextmanager
    def connection(self) -> Iterator[Connection[Any]]:
        with library_errors():
            if self._closed:
                raise psycopg.OperationalError("the connections to the log are closed")
            self._pool.open()
            with self._pool.connection() as connection:
                yield connection

    def rows(self, query: str, *, row_factory: Any = None, **arguments: Any) -> list[Any]:
        """All rows of a named query of this tenant, which only reads: it is tried again for 10 seconds when its
        connection dies, as those of a pool do when the server restarts."""
        return self._selected(sql.query(query), row_factory, arguments)

    def page(self, query: str, *, row_factory: Any = None, **arguments: Any) -> list[Any]:
        """As `rows`, and ended by PAGE_BYTES."""
        return self._selected(sql.page_of(query), row_factory, {"max_bytes": PAGE_BYTES, **arguments})

    def _selected(self, statement: str, row_factory: Any, arguments: dict[str, Any]) -> list[Any]:
        deadline = time.monotonic() + RETRY_SECONDS
        while True:
            try:
                with self.connection() as connection, connection.cursor(binary=True, row_factory=row_factory) as cursor:
                    return cursor.execute(statement, {"tenant": self.tenant, **arguments}, prepare=True).fetchall()
            except OperationalError:
                if self._closed or time.monotonic() > deadline:
                    raise
                time.sleep(RETRY_DELAY_SECONDS)

    def append(self, requests: Sequence[AppendRequest], tracking: Tracking | None = None) -> list[AppendResult]:
        """As ThreadGroupCommit.append."""
        with library_errors():
            return self._commits.append(requests, tracking)

    def close(self) -> None:
        self._close(wait=True)

    def _close(self, *, wait: bool) -> None:
        self._closed = True
        self.notifier.close(wait=wait)
        self._commits.close()
        self._pool.close(timeout=CLOSE_TIMEOUT_SECONDS if wait else 0)

    def __del__(self) -> None:
        # In whatever thread collects it: nothing is waited for. AttributeError: __init__ has failed. RuntimeError: this
        # is one of the threads that a pool's `close` joins.
        with contextlib.suppress(AttributeError, RuntimeError):
            self._close(wait=False)
