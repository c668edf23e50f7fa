"""The hand-over from the log to live events, in random interleavings of appends, the tail and a slow client."""

import asyncio
import random

import pytest

from domain.run.events import MessageDelta, RunFinished
from infrastructure.postgres.event_store.reading import StoredRow
from infrastructure.streams import client_stream
from infrastructure.streams.client_stream import ClientStream, LogBatch, LogUnavailable
from infrastructure.streams.recent_events import RecentEvent
from infrastructure.streams.run_frames import HEARTBEAT, RunIdentity
from infrastructure.streams.topic import RunTopic
from tests.support.async_run import run
from tests.support.recorded import OCCURRED_AT


class World:
    """A log in memory, and a tail that follows it."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.topic = RunTopic(RunIdentity(run_id="r", session_id="s", provider="scripted"))
        self.rows: list[StoredRow] = []
        self.tailed = 0
        self.down = False

    def append(self, *, last: bool = False) -> None:
        seq = len(self.rows) + 1
        wire_name = RunFinished.wire_name if last else MessageDelta.wire_name
        payload = b'{"outcome":"succeeded","exported":true}' if last else b'{"text":"%b"}' % (b"x" * 50)
        self.rows.append(StoredRow(seq, "run:r", seq, wire_name, "e", OCCURRED_AT, OCCURRED_AT, 1, b"{}", payload))

    def tail(self) -> None:
        new = self.rows[self.tailed : self.tailed + self.random.randint(1, 5)]
        if new:
            self.tailed += len(new)
            self.topic.offer([RecentEvent(row) for row in new])

    async def read(self, after: int, max_bytes: int) -> LogBatch:
        await self.pause()
        if self.down:
            raise LogUnavailable("down")
        rows = self.rows[after : after + self.random.randint(1, 6)]
        more = after + len(rows) < len(self.rows)
        await self.pause()
        frames = b"".join([self.topic.frame(RecentEvent(row)) for row in rows])
        return LogBatch(frames, after + len(rows), more, bool(rows) and rows[-1].type == RunFinished.wire_name)

    async def pause(self) -> None:
        for _ in range(self.random.randint(0, 3)):
            await asyncio.sleep(0)

    def open(self, after: int) -> ClientStream:
        return ClientStream(topic=self.topic, log=self, after=after, on_close=lambda _: None)


def ids_and_events(body: bytes) -> tuple[list[int], list[str]]:
    ids = [int(line[4:]) for line in body.split(b"\n") if line.startswith(b"id: ")]
    return ids, [line[7:].decode() for line in body.split(b"\n") if line.startswith(b"event: ")]


@pytest.mark.parametrize("queue_bytes", [700, 100], ids=["a few frames fit", "no frame fits"])
@pytest.mark.parametrize("seed", range(200))
def test_every_event_comes_once_and_in_order(seed: int, queue_bytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_stream, "QUEUE_BYTES", queue_bytes)
    monkeypatch.setattr(client_stream, "FIRST_RETRY_SECONDS", 0.0001)

    async def scenario() -> None:
        world = World(seed)
        for _ in range(world.random.randint(1, 20)):
            world.append()
        if world.random.random() < 0.5:
            world.tailed = world.random.randint(0, len(world.rows))
        cursor = world.random.randint(0, len(world.rows))
        stream = world.open(cursor)

        async def write() -> None:
            for _ in range(world.random.randint(0, 60)):
                world.append()
                world.down = world.random.random() < 0.1
                await world.pause()
                if world.random.random() < 0.7:
                    world.tail()
                    assert stream._queued_bytes <= queue_bytes
            world.append(last=True)
            world.down = False
            while world.tailed < len(world.rows):
                world.tail()
                await world.pause()

        async with asyncio.TaskGroup() as group:
            group.create_task(write())
            body = b""
            while part := await stream.next_body():
                body += part
                for _ in range(world.random.choice([0, 0, 1, 30])):
                    await asyncio.sleep(0)
        stream.close()
        ids, events = ids_and_events(body)
        assert ids == list(range(cursor + 1, len(world.rows) + 1))
        assert events.count("caught-up") == 1
        assert events[-1] == "run.closed"
        assert not world.topic.subscribers

    run(scenario(), timeout=20)


def test_a_waiting_stream_reads_at_once_what_its_queue_has_no_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_stream, "QUEUE_BYTES", 100)

    async def scenario() -> None:
        world = World(0)
        world.append()
        stream = world.open(0)
        await stream.next_body()
        world.tail()
        waiting = asyncio.create_task(stream.next_body())
        await asyncio.sleep(0)
        world.append()
        world.tail()
        assert ids_and_events(await waiting) == ([2], ["message.delta"])
        stream.close()

    run(scenario(), timeout=5)


def test_heartbeats_come_in_silence_and_behind_data() -> None:
    async def scenario() -> None:
        world = World(0)
        world.append()
        stream = world.open(0)
        first = await stream.next_body()
        assert ids_and_events(first) == ([1], ["message.delta", "caught-up"])
        waiting = asyncio.create_task(stream.next_body())
        await asyncio.sleep(0)
        stream.heartbeat(0, 60)
        assert await waiting == HEARTBEAT
        assert HEARTBEAT.startswith(b":")
        world.tail()
        world.append()
        world.tail()
        stream.heartbeat(0, 60)
        body = await stream.next_body()
        assert ids_and_events(body) == ([2], ["message.delta"])
        assert body.endswith(b"\n\n" + HEARTBEAT)
        stream.close()

    run(scenario(), timeout=5)


def test_heartbeats_go_on_while_the_log_is_away() -> None:
    async def scenario() -> None:
        world = World(0)
        world.append()
        world.down = True
        stream = world.open(0)
        waiting = asyncio.create_task(stream.next_body())
        for _ in range(20):
            await asyncio.sleep(0)
        stream.heartbeat(0, 60)
        assert await waiting == HEARTBEAT
        world.down = False
        assert ids_and_events(await stream.next_body())[0] == [1]
        stream.close()

    run(scenario(), timeout=5)


def test_a_client_that_takes_nothing_is_reported_as_stuck() -> None:
    async def scenario() -> None:
        world = World(0)
        world.append()
        stream = world.open(0)
        await stream.next_body()
        now = asyncio.get_running_loop().time()
        assert stream.heartbeat(now + 59, 60)
        assert not stream.heartbeat(now + 61, 60)
        stream.close()

    run(scenario(), timeout=5)


def test_an_ending_server_sends_what_is_queued_and_no_run_closed() -> None:
    async def scenario() -> None:
        world = World(0)
        world.append()
        stream = world.open(0)
        await stream.next_body()
        waiting = asyncio.create_task(stream.next_body())
        await asyncio.sleep(0)
        world.tail()
        world.append()
        world.tail()
        stream.end()
        assert ids_and_events(await waiting) == ([2], ["message.delta"])
        assert await stream.next_body() == b""
        stream.close()

    run(scenario(), timeout=5)


def test_closing_wakes_the_reader() -> None:
    async def scenario() -> None:
        world = World(0)
        world.append()
        closed: list[ClientStream] = []
        stream = ClientStream(topic=world.topic, log=world, after=0, on_close=closed.append)
        await stream.next_body()
        waiting = asyncio.create_task(stream.next_body())
        await asyncio.sleep(0)
        stream.close()
        stream.close()
        assert await waiting == b""
        assert closed == [stream]

    run(scenario(), timeout=5)
