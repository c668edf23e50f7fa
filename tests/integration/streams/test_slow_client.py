"""A client that stops reading: it costs bounded memory, nobody else waits for it, and it gets everything in the end."""

import asyncio
import re
import socket
import time
from typing import Any

import pytest

from infrastructure.streams.client_stream import QUEUE_BYTES
from tests.support.async_run import run
from tests.support.memory import resident_bytes
from tests.support.streaming import RunWriter, Streaming, streaming, until

pytestmark = pytest.mark.proof


TEXT = "x" * 1500
MEGABYTE = 1024 * 1024


def stalled_client(s: Streaming, path: str) -> socket.socket:
    """It has asked for the stream and reads nothing."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    client.connect((s.client.base_url.host, s.client.base_url.port))
    client.sendall(f"GET {path} HTTP/1.1\r\nHost: test\r\n\r\n".encode())
    client.settimeout(0)
    return client


async def seqs_to_the_end(client: socket.socket) -> list[int]:
    loop = asyncio.get_running_loop()
    parts, end = [], b""
    while b"event: run.closed" not in end:
        part = await loop.sock_recv(client, 1024 * 1024)
        assert part
        parts.append(part)
        end = end[-200:] + part[-200:]
    # Chunk boundaries fall between frames, so an id line is never cut by one.
    return [int(seq) for seq in re.findall(rb"^id: (\d+)$", b"".join(parts), re.MULTILINE)]


async def read_live(s: Streaming, writer: RunWriter, ready: asyncio.Event) -> list[int]:
    """The seqs that arrive, after the stored ones, at a client that reads at once, to the run's end."""
    result = []
    async with s.frames(f"/api/runs/{writer.run_id}/stream") as frames:
        async for frame in frames:
            if frame.event == "caught-up":
                ready.set()
            elif frame.id and ready.is_set():
                result.append(int(frame.id))
    return result


async def append_evenly(writer: RunWriter, events: int, seconds: float) -> None:
    """`events` deltas in small batches and the run's end."""
    began, batch = time.monotonic(), 10
    for number in range(0, events, batch):
        await asyncio.sleep(began + seconds * number / events - time.monotonic())
        await writer.deltas(batch, TEXT)
    await writer.finish()


async def scenario(database: str, events: int, seconds: float) -> None:
    async with streaming(database) as s:
        writer = s.run("r1")
        await writer.queue()
        ready = asyncio.Event()
        fast = asyncio.create_task(read_live(s, writer, ready))
        await ready.wait()
        slow = stalled_client(s, "/api/runs/r1/stream")
        await until(lambda: s.hub.open_streams == 2)
        memory = resident_bytes()
        most_queued = 0

        async def watch_queues() -> None:
            nonlocal most_queued
            while True:
                streams: list[Any] = [stream for slot in s.hub._streams for stream in slot]
                most_queued = max([most_queued, *[stream._queued_bytes for stream in streams]])
                await asyncio.sleep(0.01)

        watching = asyncio.create_task(watch_queues())
        await append_evenly(writer, events, seconds)
        assert await fast == list(range(writer.seq - events, writer.seq + 1)), "the slow one has read nothing yet"
        watching.cancel()
        assert most_queued <= QUEUE_BYTES
        assert resident_bytes() - memory < 50 * MEGABYTE
        assert await seqs_to_the_end(slow) == list(range(1, writer.seq + 1))
        slow.close()


def test_a_client_that_stops_reading_for_a_while(database: str) -> None:
    run(scenario(database, 5_000, 3.0), timeout=60)


@pytest.mark.timeout(300)
def test_a_client_that_stops_reading_for_60_seconds_while_50_000_events_pass(database: str) -> None:
    run(scenario(database, 50_000, 60.0), timeout=250)
