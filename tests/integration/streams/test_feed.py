"""The global feed: every event of the log by position, through a filter."""

import asyncio
from datetime import datetime

import msgspec
import pytest

from application.ports.event_streams import EventFilter
from infrastructure.streams import feed_query
from tests.support.async_run import run
from tests.support.log_events import Noted
from tests.support.recorded import new_event
from tests.support.streaming import Frame, Streaming, streaming

URL = "/api/events"


async def until_caught_up(frames: "asyncio.AsyncIterator[Frame]") -> list[Frame]:  # type: ignore[name-defined]
    seen = []
    async for frame in frames:
        if frame.event == "caught-up":
            break
        seen.append(frame)
    return seen


async def two_runs(s: Streaming) -> None:
    """Positions 1 to 6: queued a, queued b, delta a, delta b, finished a, delta b."""
    a, b = s.run("a"), s.run("b")
    await a.queue()
    await b.queue()
    await a.deltas(1)
    await b.deltas(1)
    await a.finish()
    await b.deltas(1)


def positions(frames: list[Frame]) -> list[int]:
    return [int(frame.id) for frame in frames]


@pytest.mark.parametrize("known_to_the_tail", [True, False])
@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", [1, 2, 3, 4, 5, 6]),
        ("?after=4", [5, 6]),
        ("?after=6", []),
        ("?type=message.delta", [3, 4, 6]),
        ("?type=message.delta&type=run.finished&after=3", [4, 5, 6]),
        ("?stream=run:b", [2, 4, 6]),
        ("?stream=run:b&type=message.delta", [4, 6]),
        ("?actor=tester", [1, 2, 3, 4, 5, 6]),
        ("?actor=nobody", []),
        ("?correlationId=c&stream=run:a", [1, 3, 5]),
        ("?from=2000-01-01T00:00:00Z", [1, 2, 3, 4, 5, 6]),
        ("?from=2100-01-01T00:00:00Z", []),
    ],
)
def test_what_a_filter_lets_pass(database: str, query: str, expected: list[int], known_to_the_tail: bool) -> None:
    async def scenario() -> None:
        async with streaming(database) as s:
            if not known_to_the_tail:
                await two_runs(s)
        async with streaming(database) as s:
            if known_to_the_tail:
                await two_runs(s)
            async with s.frames(URL + query) as frames:
                assert positions(await until_caught_up(frames)) == expected

    run(scenario())


def test_a_frame_of_the_feed(database: str) -> None:
    async def scenario() -> None:
        async with streaming(database) as s:
            await s.store.append("note:1", 0, [new_event(Noted(text='"hi"'), "n1", actor="ann")])
            async with s.frames(URL) as frames:
                frame = await anext(frames)
            row = (await s.store.read_all_raw())[0]
            assert frame.event == "test.noted"
            recorded_at = datetime.fromisoformat(frame.data.pop("recordedAt"))
            assert recorded_at == row.recorded_at
            assert frame.data == {
                "position": 1, "stream": "note:1", "seq": 1, "type": "test.noted", "schemaVersion": 1, "eventId": "n1",
                "occurredAt": "2026-03-04T05:06:07.891011Z",
                "metadata": {"actor": "ann", "correlationId": "c"}, "payload": {"text": '"hi"'},
            }  # fmt: skip

    run(scenario())


def test_live_events_follow_and_a_client_resumes_by_header(database: str) -> None:
    async def scenario() -> None:
        async with streaming(database) as s:
            await two_runs(s)
            async with s.frames(f"{URL}?type=message.delta&after=3") as frames:
                assert positions(await until_caught_up(frames)) == [4, 6]
                writer = s.run("c")
                await writer.queue()
                await writer.deltas(2)
                assert positions([await anext(frames), await anext(frames)]) == [8, 9]
            async with s.frames(f"{URL}?type=message.delta&after=3", {"Last-Event-ID": "8"}) as frames:
                assert positions(await until_caught_up(frames)) == [9]
            await s.no_open_streams()
            assert s.hub._feeds == {}

    run(scenario())


def test_a_feed_up_to_a_time_ends_with_the_first_event_after_it(database: str) -> None:
    async def scenario() -> None:
        async with streaming(database) as s:
            await two_runs(s)
            end = (await s.store.read_all_raw())[3].recorded_at
            until = msgspec.to_builtins(end)
            past = await s.all_frames(f"{URL}?to={until}")
            assert [frame.event for frame in past][-2:] == ["caught-up", "feed.closed"]
            assert positions(past[:-2]) == [1, 2, 3, 4]

    run(scenario())


def test_a_position_beyond_the_end_is_400(database: str) -> None:
    async def scenario() -> None:
        async with streaming(database) as s:
            await two_runs(s)
            response = await s.client.get(f"{URL}?after=7")
            assert response.status_code == 400
            assert response.json()["errors"][0]["field"] == "after"

    run(scenario())


def test_pages_search_far_for_few_matches(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("infrastructure.streams.log_reader.SCANNED_POSITIONS", 10)
    assert feed_query.SCANNED_POSITIONS > 10

    async def scenario() -> None:
        async with streaming(database) as s:
            writer = s.run("a")
            await writer.queue()
            await writer.deltas(95)
            await writer.start()
            await writer.deltas(20)
            wanted = EventFilter(types=("run.queued", "run.started"))
            page = await s.hub.read_feed(wanted, 0, 1)
            assert (len(page.events), page.last, page.more) == (1, 1, True)
            page = await s.hub.read_feed(wanted, page.last, 1)
            assert (len(page.events), page.last, page.more) == (1, 97, True)
            page = await s.hub.read_feed(wanted, page.last, 1)
            assert (page.events, page.last, page.more) == ([], 117, False)
            async with s.frames(f"{URL}?type=run.started") as frames:
                assert positions(await until_caught_up(frames)) == [97]

    run(scenario())
