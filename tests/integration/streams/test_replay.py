"""A finished run again, in its own rhythm."""

import asyncio
from datetime import timedelta

from domain.identifiers import run_stream
from domain.run.events import MessageDelta, RunFinished, RunQueued, RunStarted
from infrastructure.streams.hub import StreamHub
from tests.support.async_run import run
from tests.support.recorded import OCCURRED_AT, new_event
from tests.support.streaming import SPEC, Streaming, streaming

OFFSETS_MS = (0, 50, 1_000, 1_001, 3_600_000)


async def paced_run(s: Streaming) -> None:
    """Five events: an hour passes before the last one."""
    events = (
        RunQueued(spec=SPEC),
        RunStarted(attempt=1, generation=1, boot_id="boot"),
        MessageDelta(text="one"),
        MessageDelta(text="two"),
        RunFinished(outcome="succeeded", exported=True),
    )
    new = [
        new_event(event, f"e{number}", OCCURRED_AT + timedelta(milliseconds=offset))
        for number, (event, offset) in enumerate(zip(events, OFFSETS_MS, strict=True))
    ]
    await s.store.append(run_stream("paced"), 0, new)


async def sent(hub: StreamHub, cursor: int = 0, *, speed: float) -> list[tuple[float, bytes]]:
    """What a replay sends and when, in seconds since its begin."""
    loop = asyncio.get_running_loop()
    stream, began, found = await hub.open_replay("paced", cursor, speed), loop.time(), []
    while body := await stream.next_body():
        found.append((loop.time() - began, body))
    stream.close()
    return found


def test_at_once_it_is_what_the_stream_of_the_run_sends(database: str) -> None:
    async def scenario() -> None:
        async with streaming(database) as s:
            await paced_run(s)
            live = [frame for frame in await s.all_frames("/api/runs/paced/stream") if frame.event != "caught-up"]
            body = b"".join(part for _, part in await sent(s.hub, speed=0))
            for frame in live:
                assert f"event: {frame.event}\n".encode() in body
            assert body.count(b"\nid: ") + body.startswith(b"id: ") == len(OFFSETS_MS)
            assert body.endswith(b'"runId":"paced"}\n\n')
            assert s.hub.open_streams == 0

    run(scenario())


def test_each_event_comes_no_sooner_than_its_time(database: str) -> None:
    async def scenario() -> None:
        async with streaming(database) as s:
            await paced_run(s)
            came = {}
            for at, body in await sent(s.hub, speed=3600):
                for seq in range(1, 6):
                    if b"id: %d\n" % seq in body:
                        came[seq] = at
            for seq, offset in enumerate(OFFSETS_MS, 1):
                assert came[seq] >= offset / 1000 / 3600 - 0.001
            assert sorted(came) == [1, 2, 3, 4, 5]
            assert came[5] >= 0.99

    run(scenario())


def test_it_goes_on_after_a_cursor_and_ends_when_its_client_leaves_or_the_server_goes(database: str) -> None:
    async def scenario() -> None:
        async with streaming(database) as s:
            await paced_run(s)
            body = b"".join(part for _, part in await sent(s.hub, 3, speed=0))
            assert body.startswith(b"id: 4\n")

            left = await s.hub.open_replay("paced", 4, 1)
            first = await left.next_body()
            assert first.startswith(b"id: 5\n")
            left.close()
            assert await left.next_body() == b""

            waiting = await s.hub.open_replay("paced", 0, 1)
            await waiting.next_body()
            rest = asyncio.create_task(waiting.next_body())
            await asyncio.sleep(0)
            s.hub.end_streams()
            async with asyncio.timeout(90):
                while await rest:
                    rest = asyncio.create_task(waiting.next_body())
            waiting.close()
            assert s.hub.open_streams == 0

    run(scenario())
