"""Replay, then live, while events are appended: every client sees every event after its cursor once, and in order."""

import asyncio
import random

import pytest

from tests.support.async_run import run
from tests.support.streaming import RunWriter, Streaming, parsed, streaming

pytestmark = pytest.mark.proof


async def write_at_random(writer: RunWriter, events: int, random_: random.Random) -> None:
    await writer.start()
    while writer.seq < events:
        await writer.deltas(min(random_.choice([1, 1, 2, 5, 40, 300]), events - writer.seq))
        if random_.random() < 0.5:
            await asyncio.sleep(random_.uniform(0, 0.02))
    await writer.finish()


async def read_at_random(s: Streaming, writer: RunWriter, random_: random.Random) -> tuple[int, list[int]]:
    """A client that comes at some time, at some cursor, and loses its connection now and then: its first cursor, and
    the seqs that it saw up to the end of the run."""
    await asyncio.sleep(random_.uniform(0, 0.5))
    cursor = first = random_.choice([0, random_.randint(0, writer.seq), writer.seq])
    seen: list[int] = []
    while True:
        headers = {"Last-Event-ID": str(cursor)} if cursor else {}
        path = f"/api/runs/{writer.run_id}/stream"
        lose_after = random_.choice([1, 5, 50, 100_000, 100_000])
        async with s.client.stream("GET", path, headers=headers) as response:
            if response.status_code == 204:
                return first, seen
            assert response.status_code == 200
            async for frame in parsed(response.aiter_bytes()):
                if frame.event == "run.closed":
                    return first, seen
                if frame.id:
                    seen.append(int(frame.id))
                    cursor = seen[-1]
                    lose_after -= 1
                    if lose_after == 0:
                        break


@pytest.mark.parametrize("seed", range(3))
def test_no_gap_no_repeat_no_reorder(database: str, seed: int) -> None:
    async def scenario() -> None:
        random_ = random.Random(seed)
        async with streaming(database) as s:
            writers = [s.run(f"r{number}") for number in range(4)]
            for writer in writers:
                await writer.queue()
                await writer.deltas(random_.choice([0, 3, 2500]))
            async with asyncio.TaskGroup() as group:
                readers = [
                    (writer, group.create_task(read_at_random(s, writer, random.Random(random_.random()))))
                    for writer in writers
                    for _ in range(8)
                ]
                for writer in writers:
                    group.create_task(write_at_random(writer, writer.seq + 1500, random.Random(random_.random())))
            for writer, reader in readers:
                first, seen = reader.result()
                assert seen == list(range(first + 1, writer.seq + 1))
            await s.no_open_streams()
            assert s.hub._runs == {}

    run(scenario(), timeout=250)
