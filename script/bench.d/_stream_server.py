"""The server process of the stream benches: uvicorn with uvloop and httptools, as `fleetlog up` runs it.

Run as a program by the benches, with a DSN. It prints its port on one line, and ends when its standard input is closed.
"""

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import msgspec
import uvicorn
import uvloop
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from domain.identifiers import run_stream
from domain.record import RecordedEvent
from infrastructure.eventstore.store import GroupCommitEventStore
from infrastructure.postgres.listener import PostgresListener
from infrastructure.streams import hub as hub_module
from infrastructure.streams.client_stream import LogBatch
from infrastructure.streams.hub import StreamHub
from infrastructure.streams.run_frames import FINISHED, RunFrames, RunIdentity
from interfaces.http.draining_server import DrainingServer
from interfaces.http.sse import stream_run


def encoded_frame(identity: RunIdentity, recorded: RecordedEvent) -> bytes:
    """The frame of a decoded event: its fields behind the envelope, encoded."""
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
    """Every event is decoded, and encoded again into its frame. All else is ours: batches, read-ahead, writes."""

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


async def serve(dsn: str) -> None:
    async with (
        GroupCommitEventStore(dsn) as store,
        PostgresListener(dsn) as listener,
        StreamHub(dsn, wakeups=listener.position, max_streams=5000) as hub,
    ):

        async def ours(request: Request) -> Response:
            return await stream_run(request, hub, request.path_params["run_id"])

        async def decoding(request: Request) -> Response:
            run_log = hub_module.RunLog
            hub_module.RunLog = lambda topic, *_, **__: DecodingLog(topic.identity, store)  # type: ignore[assignment, misc]
            try:
                return await stream_run(request, hub, request.path_params["run_id"])
            finally:
                hub_module.RunLog = run_log  # type: ignore[misc]

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
    config = uvicorn.Config(
        app, host="127.0.0.1", port=0, lifespan="off", log_level="warning", access_log=False, backlog=4096
    )
    server = DrainingServer(config, end_streams=hub.end_streams if hub else lambda: None)
    task = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110  # uvicorn has no event for it
        await asyncio.sleep(0.01)
    print(server.servers[0].sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)
    server.should_exit = True
    await task


if __name__ == "__main__":
    uvloop.run(serve(sys.argv[1]))
