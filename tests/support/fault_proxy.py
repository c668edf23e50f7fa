"""A proxy between a real HTTP client and a real server that goes wrong where a test says: refuses, answers in the
server's place, hangs, cuts the connection before or after the server has acted, loses the end of an upload, or holds a
request.

Every request has a connection of its own to the server (so the end of an answer is the end of that connection).
"""

import asyncio
import contextlib
import re
import threading
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, Self
from urllib.parse import urlsplit

END_TIMEOUT_S = 10
ROUTED = re.compile(r"^/to/(\d+)(/.*)$")

Kind = Literal["answer", "hang", "cut", "cut_answer", "cut_upload", "hold"]


@dataclass
class Fault:
    """What happens to the next `times` requests whose `"METHOD /path"` matches `where`.

    `answer`: `status` and `body` instead of the server. `hang`: nothing, until the client goes or the fault is over.
    `cut`: the connection ends before the server hears of it. `cut_answer`: it ends after the server has acted.
    `cut_upload`: the server gets half of the body, then both connections end. `hold`: it is passed on when
    the fault is over.
    """

    where: str
    kind: Kind
    times: int = 1_000_000
    status: int = 500
    body: bytes = b'{"reason": "injected", "error": "injected by a test"}'
    hits: int = 0
    happened: threading.Event = field(default_factory=threading.Event)
    over: asyncio.Event = field(default_factory=asyncio.Event)

    def takes(self, request: str) -> bool:
        return self.hits < self.times and not self.over.is_set() and re.search(self.where, request) is not None


class FaultProxy:
    """Listens at `address`. Passes on to `target`, or, without one, from `/to/{port}/path` to `/path` of that port of
    loopback. `with proxy.fault(…) as fault:` is in force inside; `fault.happened` tells that it was met."""

    def __init__(self, target: str = "", address: str = "127.0.0.1") -> None:
        self._target, self._address = urlsplit(target), address
        self._faults: list[Fault] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fault proxy")
        self._connections: set[asyncio.Task[None]] = set()
        self._port = 0

    @property
    def url(self) -> str:
        return f"http://{self._address}:{self._port}"

    def __enter__(self) -> Self:
        self._thread.start()
        self._call(self._listen())
        return self

    def __exit__(self, *_: object) -> None:
        self._call(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(END_TIMEOUT_S)
        self._loop.close()

    @contextlib.contextmanager
    def fault(self, where: str, kind: Kind, **details: Any) -> Iterator[Fault]:
        fault = Fault(where, kind, **details)
        self._faults.append(fault)
        try:
            yield fault
        finally:
            self._faults.remove(fault)
            self._loop.call_soon_threadsafe(fault.over.set)

    @contextlib.contextmanager
    def refusing(self) -> Iterator[None]:
        """Inside, nobody listens: connections are refused, and open ones are cut."""
        self._call(self._close())
        try:
            yield
        finally:
            self._call(self._listen())

    def _call(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(END_TIMEOUT_S)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._serve, self._address, self._port, limit=1024 * 1024)
        self._port = self._server.sockets[0].getsockname()[1]

    async def _close(self) -> None:
        self._server.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _serve(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            await self._pass_on(client, to_client)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self._connections.discard(task)
            to_client.close()

    async def _pass_on(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        head = (await client.readuntil(b"\r\n\r\n")).decode("latin-1")
        method, path, rest = head.split(" ", 2)
        if routed := ROUTED.match(path):
            path = routed[2]
        fault = next((each for each in self._faults if each.takes(f"{method} {path}")), None)
        if fault is not None:
            fault.hits += 1
            fault.happened.set()
            if not await self._go_wrong(fault, client, to_client):
                return
        if routed:
            host, port = "127.0.0.1", int(routed[1])
        else:
            host, port = await self.where(path, head)
        server, to_server = await asyncio.open_connection(host, port)
        try:
            rest = re.sub(r"(?im)^connection:.*\r\n", "", rest)
            to_server.write(f"{method} {path} {rest[:-2]}connection: close\r\n\r\n".encode("latin-1"))
            if fault is not None and fault.kind == "cut_upload":
                to_server.write(await client.readexactly(_half_of_the_body(head)))
                await to_server.drain()
                return
            await self._exchange(
                client, to_client, server, to_server, mute=fault is not None and fault.kind == "cut_answer"
            )
        finally:
            to_server.close()

    async def where(self, path: str, head: str) -> tuple[str, int]:
        """The server that a request is for."""
        return self._target.hostname or "", self._target.port or 80

    async def _go_wrong(self, fault: Fault, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> bool:
        """Whether the server is to hear of it all the same."""
        match fault.kind:
            case "answer":
                length = f"content-type: application/problem+json\r\ncontent-length: {len(fault.body)}"
                answer = f"HTTP/1.1 {fault.status} X\r\n{length}\r\nconnection: close\r\n\r\n"
                to_client.write(answer.encode() + fault.body)
                await to_client.drain()
                to_client.write_eof()
                await _read_out(client)
                return False
            case "hang":
                gone = asyncio.create_task(_read_out(client))
                over = asyncio.create_task(fault.over.wait())
                await asyncio.wait({gone, over}, return_when=asyncio.FIRST_COMPLETED)
                gone.cancel()
                over.cancel()
                return False
            case "hold":
                await fault.over.wait()
                return True
            case other:
                return other != "cut"

    async def _exchange(
        self,
        client: asyncio.StreamReader,
        to_client: asyncio.StreamWriter,
        server: asyncio.StreamReader,
        to_server: asyncio.StreamWriter,
        *,
        mute: bool,
    ) -> None:
        upload = asyncio.create_task(_copy(client, to_server))
        try:
            while data := await server.read(65536):
                # What tells the client to send its body must pass, or the server never acts.
                if not mute or data.startswith(b"HTTP/1.1 100"):
                    to_client.write(data)
                    await to_client.drain()
        finally:
            upload.cancel()
            await asyncio.gather(upload, return_exceptions=True)


def _half_of_the_body(head: str) -> int:
    length = re.search(r"(?im)^content-length: *(\d+)", head)
    return int(length[1]) // 2 if length else 0


async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    while data := await source.read(65536):
        target.write(data)
        await target.drain()


async def _read_out(source: asyncio.StreamReader) -> None:
    with contextlib.suppress(ConnectionError):
        while await source.read(65536):
            pass
