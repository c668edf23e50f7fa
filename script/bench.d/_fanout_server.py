"""The baseline of the sse benchmark: bare uvicorn fans events out to SSE clients, without a database.

Each run's producer encodes an event's frame once and puts it into the queue of each of the run's clients; a client's
request takes what its queue holds and sends it in one write. Arguments: number of runs, events per second of each run
(0: as many as the clients take), a file for the times of production (or `-`, format as in _stream_clients.py). It
produces from the first line on its standard input until the second one.
"""

import asyncio
import struct
import sys
import time
from pathlib import Path
from typing import Any

import uvicorn
import uvloop

TEXT = "A piece of an agent's answer, as long as such pieces usually are. " * 2
QUEUED = 1000
_PRODUCED = struct.Struct("=IId")
HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
]


class Run:
    def __init__(self, number: int) -> None:
        self.number, self.seq = number, 0
        self.clients: list[asyncio.Queue[bytes]] = []

    async def produce(self, produced: list[tuple[int, int, float]]) -> None:
        self.seq += 1
        produced.append((self.number, self.seq, time.monotonic()))
        frame = (
            f'id: {self.seq}\nevent: message.delta\ndata: {{"type":"message.delta","runId":"run-{self.number}",'
            f'"sessionId":"bench","provider":"scripted","seq":{self.seq},"position":{self.seq},'
            f'"ts":"2026-03-04T05:06:07.891011Z","leaseGeneration":1,"text":"{TEXT}"}}\n\n'
        ).encode()
        for queue in self.clients:
            if queue.full():
                await queue.put(frame)
            else:
                queue.put_nowait(frame)


class Fanout:
    """The ASGI app and the producers of its runs."""

    def __init__(self, run_count: int, rate: float) -> None:
        self.runs = [Run(number) for number in range(run_count)]
        self.produced: list[tuple[int, int, float]] = []
        self._rate = rate

    async def __call__(self, scope: dict[str, Any], _receive: Any, send: Any) -> None:
        run = self.runs[int(scope["path"].split("/")[3].removeprefix("run-"))]
        queue: asyncio.Queue[bytes] = asyncio.Queue(QUEUED)
        await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
        await send({"type": "http.response.body", "body": b"event: caught-up\ndata: {}\n\n", "more_body": True})
        run.clients.append(queue)
        while True:
            frames = [await queue.get()]
            while not queue.empty():
                frames.append(queue.get_nowait())
            await send({"type": "http.response.body", "body": b"".join(frames), "more_body": True})

    async def produce(self, run: Run) -> None:
        if not self._rate:
            while True:
                await run.produce(self.produced)
                await asyncio.sleep(0)
        due = time.monotonic() + run.number / len(self.runs) / self._rate
        while True:
            await asyncio.sleep(due - time.monotonic())
            await run.produce(self.produced)
            due += 1 / self._rate


async def serve(fanout: Fanout) -> None:
    config = uvicorn.Config(
        fanout,
        host="127.0.0.1", port=0, lifespan="off", log_level="critical", access_log=False, backlog=4096,
        timeout_graceful_shutdown=1,
    )  # fmt: skip
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110  # uvicorn has no event for it
        await asyncio.sleep(0.01)
    print(server.servers[0].sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    producers = [asyncio.create_task(fanout.produce(run)) for run in fanout.runs]
    await asyncio.to_thread(sys.stdin.readline)
    for producer in producers:
        producer.cancel()
    print("done", flush=True)
    server.should_exit = True
    await serving


if __name__ == "__main__":
    app = Fanout(int(sys.argv[1]), float(sys.argv[2]))
    uvloop.run(serve(app))
    if sys.argv[3] != "-":
        Path(sys.argv[3]).write_bytes(b"".join([_PRODUCED.pack(*event) for event in app.produced]))
