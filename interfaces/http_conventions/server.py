"""The HTTP server of either program: uvicorn with bounds, started and stopped by its owner, not by signals."""

import asyncio
import contextlib
import socket
import time
from collections.abc import Callable, Iterator
from email.utils import formatdate
from functools import partial

import uvicorn
from starlette.types import ASGIApp
from uvicorn.server import ServerState

from interfaces.http_conventions.bounded_protocol import BoundedHttpProtocol, Connections

KEEP_ALIVE_S = 75
"""Longer than our clients keep an idle connection, so that no request arrives on one that is being closed."""
BACKLOG = 2048
MAX_CONNECTIONS = 4000


def _nothing() -> None:
    pass


class _DatedWhenAsked(ServerState):
    """Makes the Date header when a response needs it; uvicorn would wake up ten times a second to keep it current."""

    def __init__(self) -> None:
        self._second, self._headers = 0, [(b"date", b"")]
        super().__init__()

    @property
    def default_headers(self) -> list[tuple[bytes, bytes]]:
        second = int(time.time())
        if second != self._second:
            self._second, self._headers = second, [(b"date", formatdate(second, usegmt=True).encode())]
        return self._headers

    @default_headers.setter
    def default_headers(self, _: list[tuple[bytes, bytes]]) -> None:
        """Do nothing: uvicorn sets them at its start."""


class HttpServer(uvicorn.Server):
    """Serves `app` on a socket made by `listening`, until `end`. `started` is called once it accepts connections,
    `stopping` when a shutdown begins: it must end what would keep connections open, such as live streams. Requests
    then have `shutdown_s` seconds to finish. An idle server never wakes up: a machine may hold hundreds of
    executors."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        shutdown_s: int,
        started: Callable[[], None] = _nothing,
        stopping: Callable[[], None] = _nothing,
        max_connections: int = MAX_CONNECTIONS,
    ) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=partial(BoundedHttpProtocol, among=Connections(max_connections)),  # type: ignore[arg-type]
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_keep_alive=KEEP_ALIVE_S,
                timeout_graceful_shutdown=shutdown_s,
            )
        )
        self.server_state = _DatedWhenAsked()
        self._on_started, self._on_stopping = started, stopping
        self._ending = asyncio.Event()

    def end(self) -> None:
        """Begin the shutdown; `serve` returns after it."""
        self.should_exit = True
        self._ending.set()

    async def main_loop(self) -> None:
        await self._ending.wait()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._on_started()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._on_stopping()
        await super().shutdown(sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Do nothing: the process handles signals itself."""
        yield


def listening(host: str, port: int) -> socket.socket:
    """A socket that listens at `host`:`port` (0 = any free port). Raises OSError."""
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Connections inherit it. Without it (Nagle's algorithm) responses on a kept connection wait 40 ms for an ACK.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
        listener.setblocking(False)  # noqa: FBT003
    except OSError:
        listener.close()
        raise
    return listener


def url_of(listener: socket.socket) -> str:
    """The URL of a listening socket on this machine."""
    host, port = listener.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"
