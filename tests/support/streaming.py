"""A small app with the stream routes alone, on a real server, and an SSE client for it."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from application.ports.event_streams import EventFilter, EventStreams
from domain.errors import DomainError
from domain.event import Event
from domain.identifiers import run_stream
from domain.run.events import MessageDelta, RunFinished, RunQueued, RunStarted
from domain.run.values import Message, RunSpec
from infrastructure.postgres.event_store.store import GroupCommitEventStore
from infrastructure.postgres.listener import PostgresListener
from infrastructure.streams.hub import StreamHub
from interfaces.http.edge.problems import problem_of
from interfaces.http.edge.sse import stream_feed, stream_run
from interfaces.http_conventions.problems import Problem, problem_response
from interfaces.http_conventions.server import HttpServer, listening, url_of
from tests.support.recorded import new_event

SPEC = RunSpec(
    session_id="s1", user_login_name="ann", provider="scripted", messages=(Message(role="user", content="do it"),)
)


def stream_app(streams: EventStreams) -> Starlette:
    """`/api/runs/{run_id}/stream` and `/api/events`, with problem documents as the API has them."""

    async def run(request: Request) -> Response:
        return await stream_run(request, streams, request.path_params["run_id"])

    async def feed(request: Request) -> Response:
        query = request.query_params
        wanted = EventFilter(
            types=tuple(query.getlist("type")),
            stream=query.get("stream", ""),
            actor=query.get("actor", ""),
            correlation_id=query.get("correlationId", ""),
            recorded_from=datetime.fromisoformat(query["from"]) if "from" in query else None,
            recorded_to=datetime.fromisoformat(query["to"]) if "to" in query else None,
        )
        return await stream_feed(request, streams, wanted)

    async def refused(_request: Request, error: Exception) -> Response:
        problem = problem_of(error, {})
        assert problem is not None
        return problem_response(problem, "trace")

    return Starlette(
        routes=[Route("/api/runs/{run_id}/stream", run), Route("/api/events", feed)],
        exception_handlers={Problem: refused, DomainError: refused},
    )


@dataclass(frozen=True)
class Frame:
    id: str
    event: str
    data: dict[str, Any]


class RunWriter:
    """Appends events to one run's stream, with a `run.queued` first."""

    def __init__(self, store: GroupCommitEventStore, run_id: str) -> None:
        self._store, self.run_id, self.stream = store, run_id, run_stream(run_id)
        self.seq = 0

    async def append(self, *events: Event) -> int:
        """The position of the last one."""
        new = [new_event(event, f"{self.run_id}/{self.seq + index}") for index, event in enumerate(events, 1)]
        result = await self._store.append(self.stream, self.seq, new)
        self.seq = result.last_seq
        return result.position

    async def queue(self, spec: RunSpec = SPEC) -> None:
        await self.append(RunQueued(spec=spec))

    async def start(self) -> None:
        await self.append(RunStarted(attempt=1, generation=1, boot_id="boot"))

    async def deltas(self, number: int, text: str = "delta") -> None:
        """`number` message.delta events, `text` with their seq behind it, in appends of up to 1,000."""
        while number > 0:
            part = min(number, 1000)
            await self.append(*[MessageDelta(text=f"{text} {self.seq + index}") for index in range(1, part + 1)])
            number -= part

    async def finish(self, outcome: Any = "succeeded") -> None:
        await self.append(RunFinished(outcome=outcome, exported=True))


async def until(condition: Callable[[], bool], *, seconds: float = 10) -> None:
    """Return as soon as the condition holds; AssertionError when it does not come to hold in time."""
    for _ in range(int(seconds * 100)):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"waited {seconds} s in vain")


class Streaming:
    """A store, a hub and a server that belong together."""

    def __init__(self, store: GroupCommitEventStore, hub: StreamHub, client: httpx.AsyncClient) -> None:
        self.store, self.hub, self.client = store, hub, client

    async def no_open_streams(self) -> None:
        await until(lambda: self.hub.open_streams == 0)

    def run(self, run_id: str) -> RunWriter:
        return RunWriter(self.store, run_id)

    @contextlib.asynccontextmanager
    async def frames(self, path: str, headers: dict[str, str] | None = None) -> AsyncIterator[AsyncIterator[Frame]]:
        """The frames of a stream, which must answer 200; it is closed at the end of the block."""
        async with self.client.stream("GET", path, headers=headers) as response:
            assert response.status_code == 200, await response.aread()
            yield parsed(response.aiter_bytes())

    async def all_frames(self, path: str, headers: dict[str, str] | None = None) -> list[Frame]:
        """The frames of a stream that comes to an end."""
        async with self.frames(path, headers) as frames:
            return [frame async for frame in frames]


async def parsed(chunks: AsyncIterator[bytes]) -> AsyncIterator[Frame]:
    """The frames of an SSE body; comments are left out."""
    rest = b""
    async for chunk in chunks:
        *blocks, rest = (rest + chunk).split(b"\n\n")
        for block in blocks:
            fields: dict[str, str] = {}
            for line in block.decode().split("\n"):
                name, _, value = line.partition(": ")
                fields[name] = value
            if "event" in fields:
                yield Frame(fields.get("id", ""), fields["event"], json.loads(fields["data"]))
    assert rest == b""


@contextlib.asynccontextmanager
async def streaming(dsn: str, **hub_options: Any) -> AsyncIterator[Streaming]:
    """On a migrated database."""
    async with (
        GroupCommitEventStore(dsn) as store,
        PostgresListener(dsn) as listener,
        StreamHub(dsn, announcements=listener.position, **hub_options) as hub,
        serving(stream_app(hub), hub) as url,
        httpx.AsyncClient(base_url=url, timeout=120, limits=httpx.Limits(max_connections=None)) as client,
    ):
        yield Streaming(store, hub, client)


@contextlib.asynccontextmanager
async def serving(app: Starlette, hub: StreamHub) -> AsyncIterator[str]:
    """The URL of a uvicorn server in this event loop, as the product runs it."""
    listener = listening("127.0.0.1", 0)
    server = HttpServer(app, shutdown_s=20, stopping=hub.end_streams)
    task = asyncio.create_task(server.serve(sockets=[listener]))
    await until(lambda: server.started or task.done())
    try:
        yield url_of(listener)
    finally:
        server.end()
        await asyncio.wait_for(task, 20)
