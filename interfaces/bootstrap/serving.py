"""Serving an ASGI application in this event loop, with a bound on everything, until told to stop."""

import asyncio
import contextlib
import errno
import socket
from collections.abc import AsyncIterator, Callable, Iterator

import uvicorn
from starlette.types import ASGIApp

from interfaces.errors import StartRefused
from interfaces.http.draining_server import DrainingServer
from interfaces.http.protocol import BoundedHttpProtocol

SHUTDOWN_TIMEOUT_S = 10


class _Server(DrainingServer):
    """Signals are the process's own business."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@contextlib.asynccontextmanager
async def serving(app: ASGIApp, *, host: str, port: int, end_streams: Callable[[], None]) -> AsyncIterator[str]:
    """The URL at which `app` is served. `end_streams` ends what would keep connections open. Raises StartRefused."""
    listener = _listen(host, port)
    config = uvicorn.Config(
        app,
        loop="uvloop",
        http=BoundedHttpProtocol,
        lifespan="off",
        log_config=None,
        access_log=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=SHUTDOWN_TIMEOUT_S,
        server_header=False,
    )
    server = _Server(config, end_streams=end_streams)
    task = asyncio.create_task(server.serve(sockets=[listener]), name="http server")
    try:
        while not server.started:
            await asyncio.sleep(0.005)  # uvicorn tells its start by this flag alone
            if task.done():
                task.result()
        address = listener.getsockname()
        yield f"http://{f'[{address[0]}]' if ':' in address[0] else address[0]}:{address[1]}"
    finally:
        server.should_exit = True
        async with asyncio.timeout(SHUTDOWN_TIMEOUT_S + 5):
            await task
        listener.close()


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(2048)
        except OSError:
            listener.close()
            raise
    except OSError as error:
        reason = error.strerror or str(error)
        raise StartRefused(f"{host}:{port} can't be listened on: {reason}. {_what_to_do(error)}") from error
    listener.setblocking(False)  # noqa: FBT003
    return listener


def _what_to_do(error: OSError) -> str:
    if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
        return "FLEETLOG_HOST must be an address of this machine."
    if error.errno == errno.EADDRINUSE:
        return "Another server is there; FLEETLOG_PORT chooses another port, 0 a free one."
    return "FLEETLOG_PORT chooses another port, 0 a free one."
