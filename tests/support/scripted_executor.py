"""An executor's stand-in: a real HTTP server on loopback that gives the answers that a test has set."""

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What one request gets. `chunks` are sent one by one as a chunked body, each followed by waiting for a release of
    `gate`; `cut` then closes the connection before the body's end; `hang` never answers; `raw` is sent instead of an
    answer; `endless` is sent again and again, with `pause_s` between, until the peer has enough."""

    status: int = 200
    body: Any = None
    chunks: tuple[bytes, ...] = ()
    cut: bool = False
    hang: bool = False
    raw: bytes = b""
    endless: bytes = b""
    pause_s: float = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    gate: asyncio.Semaphore | None = None


@dataclass(frozen=True, kw_only=True)
class Request:
    method: str
    path: str
    headers: Mapping[str, str]
    body: Any


@dataclass
class ScriptedExecutor:
    """`replies` are used up in order; `default` answers from then on."""

    url: str = ""
    replies: deque[Reply] = field(default_factory=deque)
    default: Reply = field(default_factory=Reply)
    requests: list[Request] = field(default_factory=list)
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    closed_by_peer: asyncio.Event = field(default_factory=asyncio.Event)

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                method, path, _ = line.decode().split(" ")
                headers = {}
                while (header := (await reader.readline()).decode().strip()) != "":
                    name, value = header.split(": ", 1)
                    headers[name.lower()] = value
                content = await reader.readexactly(int(headers.get("content-length", "0")))
                body = json.loads(content) if content else None
                self.requests.append(Request(method=method, path=path, headers=headers, body=body))
                self.asked.set()
                if not await self._send(self.replies.popleft() if self.replies else self.default, reader, writer):
                    break
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self.closed_by_peer.set()
            writer.close()

    async def _send(self, reply: Reply, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        if reply.hang:
            await reader.read()
            return False
        if reply.raw:
            writer.write(reply.raw)
            await writer.drain()
            return False
        if reply.endless:
            writer.write(f"HTTP/1.1 {reply.status} X\r\ntransfer-encoding: chunked\r\n\r\n".encode())
            while True:
                writer.write(f"{len(reply.endless):x}\r\n".encode() + reply.endless + b"\r\n")
                await writer.drain()
                await asyncio.sleep(reply.pause_s)
        if not reply.chunks:
            if reply.cut:
                return False
            content = json.dumps(reply.body).encode()
            more = "".join(f"{name}: {value}\r\n" for name, value in reply.headers.items())
            head = f"HTTP/1.1 {reply.status} X\r\n{more}content-length: {len(content)}\r\n\r\n"
            writer.write(head.encode() + content)
            await writer.drain()
            return True
        writer.write(f"HTTP/1.1 {reply.status} X\r\ntransfer-encoding: chunked\r\n\r\n".encode())
        for chunk in reply.chunks:
            writer.write(f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n")
            await writer.drain()
            if reply.gate and not await _opened(reply.gate, reader):
                return False
        if reply.cut:
            return False
        writer.write(b"0\r\n\r\n")
        await writer.drain()
        return True


async def _opened(gate: asyncio.Semaphore, reader: asyncio.StreamReader) -> bool:
    """True when the gate was released, False when the peer closed the connection before."""
    released, closed = asyncio.create_task(gate.acquire()), asyncio.create_task(reader.read(1))
    try:
        await asyncio.wait({released, closed}, return_when=asyncio.FIRST_COMPLETED)
        return released.done()
    finally:
        released.cancel()
        closed.cancel()


@asynccontextmanager
async def scripted_executor() -> AsyncIterator[ScriptedExecutor]:
    executor = ScriptedExecutor()
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        tasks.add(task)
        await executor.answer(reader, writer)
        tasks.discard(task)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    executor.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield executor
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()
