"""The server process of the stream benchmarks: uvicorn with uvloop and httptools, as `fleetlog up` runs it.

Run as a program with a DSN as its argument. It prints its port on one line, and ends when its standard input is closed.
"""

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from unittest.mock import patch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import msgspec
import uvloop
from _observing import observing
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from domain.identifiers import run_stream
from domain.record import RecordedEvent
from infrastructure.postgres.event_store.store import GroupCommitEventStore
from infrastructure.postgres.listener import PostgresListener
from infrastructure.streams import hub as hub_module
from infrastructure.streams.client_stream import LogBatch
from infrastructure.streams.hub import StreamHub
from infrastructure.streams.run_frames import FINISHED, RunFrames, RunIdentity
from interfaces.http.compatibility.run_frames import OLDER_FORMS
from interfaces.http.edge.sse import stream_run
from interfaces.http_conventions.server import HttpServer, listening


def encoded_frame(identity: RunIdentity, recorded: RecordedEvent) -> bytes:
    """The frame of a decoded event: the envelope, followed by the event's encoded fields."""
    data = {
        "type": recorded.event.wire_name,
        "runId": identity.run_id,
        "sessionId": identity.session_id,
        "provider": identity.provider,
        "seq": recorded.seq,
        "position": recorded.position,
        "ts": recorded.occurred_at,
        **msgspec.to_builtins(recorded.event),
    }
    return b"id: %d\nevent: %b\ndata: %b\n\n" % (
        recorded.seq,
        recorded.event.wire_name.encode(),
        msgspec.json.encode(data),
    )


class DecodingLog:
    """A LogReading that decodes every event and encodes its frame. Batches, read-ahead and writes are Fleetlog's."""

    def __init__(self, identity: RunIdentity, store: GroupCommitEventStore) -> None:
        self._identity, self._store = identity, store
        self._rows = 200

    async def read(self, after: int, max_bytes: int) -> LogBatch:
        events = await self._store.read_stream(run_stream(self._identity.run_id), after_seq=after, limit=self._rows)
        body = b"".join([encoded_frame(self._identity, recorded) for recorded in events])
        more = len(events) == self._rows
        ended = bool(events) and events[-1].event.wire_name == FINISHED
        if events:  # batches as large as ours
            self._rows = max(100, min(2000, max_bytes * len(events) // len(body)))
        return LogBatch(body, events[-1].seq if events else after, more and not ended, ended)


async def serve(dsn: str, observed: str = "none") -> None:
    async with (
        GroupCommitEventStore(dsn) as store,
        PostgresListener(dsn) as listener,
        observing(dsn, store, listener, observed) as measurements,
        StreamHub(
            dsn,
            announcements=listener.position,
            max_streams=5000,
            forms=OLDER_FORMS,
            measurements=measurements,
        ) as hub,
    ):

        async def ours(request: Request) -> Response:
            return await stream_run(request, hub, request.path_params["run_id"])

        async def decoding(request: Request) -> Response:
            with patch.object(hub_module, "RunLog", lambda topic, *_, **__: DecodingLog(topic.identity, store)):
                return await stream_run(request, hub, request.path_params["run_id"])

        async def frame_by_frame(request: Request) -> Response:
            identity = RunIdentity(run_id=request.path_params["run_id"], session_id="bench", provider="scripted")

            async def frames() -> AsyncIterator[bytes]:
                after, events = 0, await store.read_stream(run_stream(identity.run_id), limit=500)
                while events:
                    for recorded in events:
                        yield encoded_frame(identity, recorded)
                    after = events[-1].seq
                    events = await store.read_stream(run_stream(identity.run_id), after_seq=after, limit=500)
                yield RunFrames(identity).closed

            return StreamingResponse(frames(), media_type="text/event-stream")

        app = Starlette(
            routes=[
                Route("/api/runs/{run_id}/stream", ours),
                Route("/decoding/runs/{run_id}/stream", decoding),
                Route("/frame-by-frame/runs/{run_id}/stream", frame_by_frame),
            ]
        )
        await serve_until_stdin_closes(app, hub)


async def serve_until_stdin_closes(app: Starlette, hub: StreamHub | None = None) -> None:
    listener = listening("127.0.0.1", 0)
    server = HttpServer(app, shutdown_s=60, stopping=hub.end_streams if hub else lambda: None)
    task = asyncio.create_task(server.serve(sockets=[listener]))
    while not server.started:  # noqa: ASYNC110  # uvicorn has no event for it
        await asyncio.sleep(0.01)
    print(listener.getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)
    server.end()
    await task


if __name__ == "__main__":
    uvloop.run(serve(*sys.argv[1:]))
