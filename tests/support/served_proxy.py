"""The store proxy of a control plane, served in front of a real object store."""

import asyncio
import threading
from types import SimpleNamespace
from typing import Any

from application.sessions.worker_storage import WorkerStorage
from infrastructure.boto3_store.proxy_keys import ProxyKeys
from infrastructure.boto3_store.session import AwsSession
from infrastructure.boto3_store.store_proxy import StoreProxy
from infrastructure.object_store.location import S3Location
from interfaces.http_conventions.server import HttpServer, listening, url_of

SECRET = b"secret of the installation"


class OneSession:
    """The sessions of a log that has only s1, with this prefix and these layers."""

    def __init__(self, own: str, layers: tuple[str, ...]) -> None:
        self.own, self.layers = own, layers
        self.generation = 3
        self.broken = False

    async def load(self, session_id: str) -> Any:
        if self.broken:
            raise ConnectionError("the log can't be read")
        plan = SimpleNamespace(layers=[SimpleNamespace(source=source) for source in (self.own, *self.layers)])
        state = SimpleNamespace(generation=self.generation, workspace_prefix=self.own.rstrip("/"), plan=plan)
        return SimpleNamespace(state=state if session_id == "s1" else None)


class ServedProxy:
    """A store proxy in a loop of its own, as in a control plane. `now` is its clock for what it remembers."""

    def __init__(self, location: S3Location, own: str, layers: tuple[str, ...] = (), **options: Any) -> None:
        self.sessions, self.now = OneSession(own, layers), 0.0
        self.url = ""
        self._options, self._session = options, AwsSession(location)
        self._serving = threading.Event()
        self._thread = threading.Thread(target=asyncio.run, args=(self._serve(),))

    async def _serve(self) -> None:
        sessions: Any = self.sessions
        storage = WorkerStorage(sessions=sessions, secret=SECRET, clock=lambda: self.now)
        proxy = StoreProxy(self._session, storage, unavailable=(ConnectionError,), **self._options)
        self._server, self._loop = HttpServer(proxy, shutdown_s=5), asyncio.get_running_loop()
        with listening("127.0.0.1", 0) as listener:
            self.url = url_of(listener)
            self._serving.set()
            await self._server.serve(sockets=[listener])
        await proxy.close()

    def __enter__(self) -> "ServedProxy":
        self._thread.start()
        assert self._serving.wait(30)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._server.end)
        self._thread.join(30)

    def keys(self, secret: bytes = SECRET) -> ProxyKeys:
        return ProxyKeys(secret, address=lambda: self.url)
