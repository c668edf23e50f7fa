"""Connections whose every wait is bounded.

`connect` and `open_pool` give autocommit connections in UTF-8 with timeouts for locks, statements, idle transactions
and dead peers. The text of a hash chain depends on UTF-8, so a client encoding from the environment is overruled; times
are read in UTC, whatever the server's time zone. Given the process's `continuity`, a new connection is used only after
it has led to the log that the process knows; one of a pool can only read otherwise.
"""

from typing import Any

from psycopg import AsyncConnection, Connection
from psycopg.conninfo import make_conninfo
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool, ConnectionPool

from infrastructure.postgres.continuity import LogContinuity
from infrastructure.postgres.event_store.errors import LogDiscontinued

Pool = AsyncConnectionPool[AsyncConnection[Any]]
CONNECT_TIMEOUT_SECONDS = 5
LOCK_TIMEOUT_SECONDS = 10
STATEMENT_TIMEOUT_SECONDS = 30
RECONNECT_SECONDS = 5
"""A pool waits longer and longer between its tries to connect, and gives up after so many seconds: the next caller
makes it try anew, at once. With the library's five minutes a server that is back goes unnoticed for half a minute."""

_SETTINGS = {
    "client_encoding": "UTF8",
    "timezone": "UTC",
    "lock_timeout": f"{LOCK_TIMEOUT_SECONDS}s",
    "statement_timeout": f"{STATEMENT_TIMEOUT_SECONDS}s",
    "idle_in_transaction_session_timeout": "60s",
    # Compiling costs more than any of our statements takes.
    "jit": "off",
}


def bounded(dsn: str, **settings: str) -> str:
    """The DSN with Fleetlog's session settings; `settings` are server settings that replace them."""
    options = " ".join(f"-c {name}={value}" for name, value in {**_SETTINGS, **settings}.items())
    return make_conninfo(
        dsn,
        client_encoding="UTF8",
        connect_timeout=CONNECT_TIMEOUT_SECONDS,
        options=options,
        keepalives_idle=10,
        keepalives_interval=5,
        keepalives_count=3,
        tcp_user_timeout=STATEMENT_TIMEOUT_SECONDS * 1000,
    )


async def connect(dsn: str, continuity: LogContinuity | None = None, /, **settings: str) -> AsyncConnection[TupleRow]:
    """An autocommit connection. Raises psycopg.OperationalError when the server can't be reached within its timeout,
    and LogDiscontinued."""
    connection = await AsyncConnection.connect(bounded(dsn, **settings), autocommit=True)
    if continuity is not None:
        try:
            await continuity.check(connection)
        except BaseException:
            await connection.close()
            raise
    return connection


def connect_thread(dsn: str, **settings: str) -> Connection[TupleRow]:
    """`connect` for threads."""
    return Connection.connect(bounded(dsn, **settings), autocommit=True)


async def open_pool(dsn: str, continuity: LogContinuity | None = None, /, *, size: int = 4, **settings: str) -> Pool:
    """An open pool of `size` connections at most; a caller waits for one of them no longer than 10 seconds. Each is
    tried, by a round trip, before it is given out."""
    return await _open(_pool(dsn, size, continuity, settings, check=AsyncConnectionPool.check_connection))


async def open_untried_pool(
    dsn: str, continuity: LogContinuity | None = None, /, *, size: int = 4, **settings: str
) -> Pool:
    """`open_pool` for callers who try again themselves when a connection turns out dead: no round trip before."""
    return await _open(_pool(dsn, size, continuity, settings, check=None))


async def _open(pool: Pool) -> Pool:
    await pool.open()
    return pool


def _pool(dsn: str, size: int, continuity: LogContinuity | None, settings: dict[str, str], *, check: Any) -> Pool:
    async def writes_into_the_same_log(connection: AsyncConnection[Any]) -> None:
        if continuity is not None:
            try:
                await continuity.check(connection)
            except LogDiscontinued:
                # Refused, it would let everyone wait for a connection; `/ready`, too, which is to say what is wrong.
                await connection.execute("SET default_transaction_read_only = on")

    return AsyncConnectionPool(
        bounded(dsn, **settings),
        min_size=1,
        max_size=size,
        kwargs={"autocommit": True},
        timeout=10,
        reconnect_timeout=RECONNECT_SECONDS,
        open=False,
        configure=writes_into_the_same_log,
        check=check,
    )


def thread_pool(dsn: str, *, size: int = 5, **settings: str) -> ConnectionPool[Connection[Any]]:
    """`open_pool` for threads. Open it before its first use."""
    return ConnectionPool(
        bounded(dsn, **settings),
        min_size=1,
        max_size=size,
        kwargs={"autocommit": True},
        timeout=10,
        reconnect_timeout=RECONNECT_SECONDS,
        open=False,
        check=ConnectionPool.check_connection,
    )
