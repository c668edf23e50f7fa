"""Runs the HTTP server in this event loop for as long as a context is open."""

import asyncio
import contextlib
import errno
import socket
from collections.abc import AsyncIterator, Callable

from starlette.types import ASGIApp

from interfaces.errors import StartRefused
from interfaces.http_conventions.server import MAX_CONNECTIONS, HttpServer, listening, url_of

SHUTDOWN_TIMEOUT_S = 10


@contextlib.asynccontextmanager
async def serving(
    app: ASGIApp, *, host: str, port: int, end_streams: Callable[[], None], max_connections: int = MAX_CONNECTIONS
) -> AsyncIterator[str]:
    """Serve `app`; gives its URL. When the shutdown begins, `end_streams` must end live streams, which would keep
    connections open. Raises StartRefused if the port can't be listened on."""
    listener = _listening(host, port)
    server = HttpServer(app, shutdown_s=SHUTDOWN_TIMEOUT_S, stopping=end_streams, max_connections=max_connections)
    task = asyncio.create_task(server.serve(sockets=[listener]), name="http server")
    try:
        while not server.started:
            await asyncio.sleep(0.005)  # uvicorn signals its start by this flag only
            if task.done():
                task.result()
        yield url_of(listener)
    finally:
        server.end()
        async with asyncio.timeout(SHUTDOWN_TIMEOUT_S + 5):
            await task
        listener.close()


def _listening(host: str, port: int) -> socket.socket:
    try:
        return listening(host, port)
    except OSError as error:
        reason = error.strerror or str(error)
        raise StartRefused(f"{host}:{port} can't be listened on: {reason}. {_what_to_do(error)}") from error


def _what_to_do(error: OSError) -> str:
    if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
        return "FLEETLOG_HOST must be an address of this machine."
    if error.errno == errno.EADDRINUSE:
        return "Another server is there; FLEETLOG_PORT chooses another port, 0 a free one."
    return "FLEETLOG_PORT chooses another port, 0 a free one."
