"""Serves the object store to session workers (infrastructure/boto3_store/store_proxy.py) at the address where these
reach this process."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from socket import socket

from starlette.types import ASGIApp

from application.task_cancellation import cancel_and_wait
from interfaces.http_conventions.server import HttpServer, listening, url_of

_SHUTDOWN_S = 5
_RETRY_S = 5.0
_log = logging.getLogger("fleetlog.store_proxy")


class StoreServer:
    """`find_host` gives the address to listen on, "" while it can't be known; it blocks, and raises when it never can.
    `port`: the one to take if it is free. `lazily`: it does not serve, nor look for the address, before its URL is
    asked for. Made in the event loop that serves it."""

    def __init__(self, find_host: Callable[[], str], *, port: int = 0, lazily: bool = False) -> None:
        self._find_host, self._port, self._lazily = find_host, port, lazily
        self._loop, self._wanted = asyncio.get_running_loop(), asyncio.Event()
        self._url = ""
        self._serving: asyncio.Task[None] | None = None

    def url(self) -> str:
        """Where session workers reach it; "" while it does not serve. Safe to call from any thread."""
        if not self._url:
            self._loop.call_soon_threadsafe(self._wanted.set)
        return self._url

    @asynccontextmanager
    async def serving(self, app: ASGIApp) -> AsyncIterator[None]:
        """Serve within the block; from its beginning if the address is known, else as soon as it is or is asked for."""
        listener = None if self._lazily else await self._listener()
        server = HttpServer(app, shutdown_s=_SHUTDOWN_S)
        task = self._serving = asyncio.create_task(self._serve(server, listener), name="store server")
        try:
            yield
        finally:
            server.end()
            await asyncio.wait({task}, timeout=2 * _SHUTDOWN_S)
            await cancel_and_wait([task])

    async def until_ended(self) -> None:
        """Wait until it does not serve any more; for the block in which it should. Raises what it has ended for."""
        assert self._serving is not None
        await asyncio.shield(self._serving)

    async def _serve(self, server: HttpServer, listener: socket | None) -> None:
        if listener is None and not self._lazily:
            _log.warning("session workers can't use the object store before Docker says where they reach this process")
        while listener is None:
            await (self._wanted.wait() if self._lazily else asyncio.sleep(_RETRY_S))
            with suppress(Exception):
                listener = await self._listener()
            if listener is None and self._lazily:
                await asyncio.sleep(_RETRY_S)
                self._wanted.clear()
        with listener:
            self._url = url_of(listener)
            await server.serve(sockets=[listener])

    async def _listener(self) -> socket | None:
        host = await asyncio.to_thread(self._find_host)
        if not host:
            return None
        try:
            found = listening(host, self._port)
        except OSError:
            found = listening(host, 0)
        self._url = url_of(found)
        return found
