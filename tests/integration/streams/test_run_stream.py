"""One run's stream over HTTP: what comes, in which order, and which answers there are instead."""

import pytest

from domain.run.events import RunBlocked, RunWarning
from domain.run.values import Warn
from tests.support.async_run import run
from tests.support.streaming import SPEC, Frame, Streaming, streaming

URL = "/api/runs/r1/stream"


def names(frames: list[Frame]) -> list[str]:
    return [frame.event for frame in frames]


def ids(frames: list[Frame]) -> list[int]:
    return [int(frame.id) for frame in frames if frame.id]


async def finished_run(s: Streaming) -> None:
    """r1, whose last seq is 5."""
    writer = s.run("r1")
    await writer.queue()
    await writer.start()
    await writer.deltas(2)
    await writer.finish()


def test_the_whole_of_a_finished_run(database: str) -> None:
    async def scenario() -> None:
        async with streaming(database) as s:
            await finished_run(s)
            frames = await s.all_frames(URL)
            assert names(frames) == [
                "run.queued", "run.started", "run.status", "message.delta", "message.delta", "run.finished",
                "run.status", "caught-up", "run.closed",
            ]  # fmt: skip
            assert ids(frames) == [1, 2, 3, 4, 5]
            assert frames[3].data == {
                "type": "message.delta", "runId": "r1", "sessionId": "s1", "provider": "scripted", "seq": 3,
                "position": 3, "ts": "2026-03-04T05:06:07.891011Z", "text": "delta 3",
            }  # fmt: skip
            assert frames[-1].data == {"type": "run.closed", "runId": "r1"}

    run(scenario())


def test_live_events_follow_caught_up_and_run_closed_is_last(database: str) -> None:
    async def scenario() -> None:
        async with streaming(database) as s:
            writer = s.run("r1")
            await writer.queue()
            async with s.frames(URL) as frames:
                assert names([await anext(frames), await anext(frames)]) == ["run.queued", "caught-up"]
                await writer.start()
                assert names([await anext(frames), await anext(frames)]) == ["run.started", "run.status"]
                await writer.finish("canceled")
                assert names([frame async for frame in frames]) == ["run.finished", "run.status", "run.closed"]

    run(scenario())


def test_the_answers_headers(database: str) -> None:
    async def scenario() -> None:
        async with streaming(database) as s:
            await finished_run(s)
            response = await s.client.get(URL)
            assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
            assert response.headers["cache-control"] == "no-cache"
            assert response.headers["x-accel-buffering"] == "no"
            assert "content-length" not in response.headers

    run(scenario())


def test_head_has_the_headers_and_no_end_to_wait_for(database: str) -> None:
    async def scenario() -> None:
        async with streaming(database) as s:
            await s.run("r1").queue()
            response = await s.client.head(URL)
            assert response.status_code == 200
            assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
            assert s.hub.open_streams == 0

    run(scenario())


def test_a_client_resumes_behind_its_cursor_and_the_header_wins(database: str) -> None:
    async def scenario() -> None:
        async with streaming(database) as s:
            await finished_run(s)
            assert ids(await s.all_frames(f"{URL}?cursor=3")) == [4, 5]
            assert ids(await s.all_frames(URL, {"Last-Event-ID": "2"})) == [3, 4, 5]
            assert ids(await s.all_frames(f"{URL}?cursor=1", {"Last-Event-ID": "4"})) == [5]
            assert ids(await s.all_frames(f"{URL}?cursor=4", {"Last-Event-ID": ""})) == [5]

    run(scenario())


@pytest.mark.parametrize("replica_has_seen_it", [True, False])
def test_the_end_of_a_finished_run_is_204_for_a_browser_and_the_closing_frames_for_a_cursor(
    database: str, replica_has_seen_it: bool
) -> None:
    async def ask(s: Streaming) -> None:
        assert (await s.client.get(URL, headers={"Last-Event-ID": "5"})).status_code == 204
        assert (await s.client.get(f"{URL}?cursor=5", headers={"Last-Event-ID": "5"})).status_code == 204
        frames = await s.all_frames(f"{URL}?cursor=5")
        assert names(frames) == ["run.status", "caught-up", "run.closed"]
        assert ids(frames) == []
        assert (frames[0].data["status"], frames[0].data["detail"]) == ("finished", "succeeded")
        assert frames == (await s.all_frames(f"{URL}?cursor=4"))[1:]
        await s.no_open_streams()

    async def scenario() -> None:
        async with streaming(database) as s:
            await finished_run(s)
            if replica_has_seen_it:
                await ask(s)
        async with streaming(database) as s:
            await ask(s)

    run(scenario())


@pytest.mark.parametrize(
    ("query", "headers", "field"),
    [
        ("?cursor=6", {}, "cursor"),
        ("?cursor=-1", {}, "cursor"),
        ("?cursor=1.5", {}, "cursor"),
        ("?cursor=%D9%A1", {}, "cursor"),
        ("?cursor=99999999999999999999", {}, "cursor"),
        ("?cursor=1", {"Last-Event-ID": "6"}, "Last-Event-ID"),
        ("?cursor=1", {"Last-Event-ID": "no"}, "Last-Event-ID"),
    ],
)
def test_a_bad_cursor_is_400_and_names_its_field(
    database: str, query: str, headers: dict[str, str], field: str
) -> None:
    async def scenario() -> None:
        async with streaming(database) as s:
            await finished_run(s)
            response = await s.client.get(URL + query, headers=headers)
            assert response.status_code == 400
            assert response.headers["content-type"] == "application/problem+json"
            assert [error["field"] for error in response.json()["errors"]] == [field]
            assert s.hub.open_streams == 0

    run(scenario())


def test_an_unknown_run_is_404(database: str) -> None:
    async def scenario() -> None:
        async with streaming(database) as s:
            assert (await s.client.get(URL)).status_code == 404

    run(scenario())


def test_a_blocked_run_closes_after_what_it_has_and_a_cancelation_reopens_nothing(database: str) -> None:
    async def scenario() -> None:
        async with streaming(database) as s:
            writer = s.run("r1")
            warning = RunWarning(warning=Warn(code="resume_missing", message="starts anew"))
            await writer.append(RunBlocked(spec=SPEC, capability="humanLoop", reason="can't ask"), warning)
            frames = await s.all_frames(URL)
            assert names(frames) == ["run.blocked", "run.status", "run.warning", "caught-up", "run.closed"]
            assert frames[1].data["detail"] == "can't ask"
            assert frames[2].data["warning"] == {"code": "resume_missing", "message": "starts anew"}
            assert (await s.client.get(URL, headers={"Last-Event-ID": "2"})).status_code == 204
            assert await s.all_frames(f"{URL}?cursor=2") == [frames[1], *frames[3:]]
            await writer.finish("canceled")
            assert names(await s.all_frames(f"{URL}?cursor=2")) == [
                "run.finished", "run.status", "caught-up", "run.closed",
            ]  # fmt: skip

    run(scenario())


def test_beyond_max_streams_is_503_with_retry_after_until_one_ends(database: str) -> None:
    async def scenario() -> None:
        async with streaming(database, max_streams=2) as s:
            await s.run("r1").queue()
            async with s.frames(URL) as first:
                await anext(first)
                async with s.frames(URL) as second:
                    await anext(second)
                    refused = await s.client.get(URL)
                    assert refused.status_code == 503
                    assert int(refused.headers["retry-after"]) > 0
                    assert refused.json()["reason"] == "too_many_streams"
            await s.no_open_streams()
            async with s.frames(URL) as again:
                assert (await anext(again)).event == "run.queued"

    run(scenario())


def test_a_client_that_goes_away_leaves_nothing_behind(database: str) -> None:
    async def scenario() -> None:
        async with streaming(database) as s:
            await s.run("r1").queue()
            async with s.frames(URL) as frames:
                await anext(frames)
                assert s.hub.open_streams == 1
            await s.no_open_streams()
            assert s.hub._runs == {}

    run(scenario())


def test_a_comment_line_comes_in_silence(database: str) -> None:
    async def scenario() -> None:
        async with streaming(database, heartbeat_seconds=1) as s:
            await s.run("r1").queue()
            async with s.client.stream("GET", URL) as response:
                text = ""
                async for part in response.aiter_text():
                    text += part
                    if text.count("\n\n: still here\n\n") == 1 and text.endswith(": still here\n\n: still here\n\n"):
                        break

    run(scenario())


def test_a_shutdown_ends_streams_without_run_closed_and_another_replica_serves_the_rest(database: str) -> None:
    async def scenario() -> None:
        seen: list[Frame] = []
        async with streaming(database) as other:
            async with streaming(database) as s:
                writer = s.run("r1")
                await writer.queue()
                await writer.deltas(10)
                async with s.frames(URL) as frames:
                    while not seen or seen[-1].event != "caught-up":
                        seen.append(await anext(frames))
                    s.hub.end_streams()
                    seen += [frame async for frame in frames]
                    assert (await s.client.get(URL)).status_code == 503
            assert seen[-1].event == "caught-up"
            writer = other.run("r1")
            writer.seq = 11
            await writer.deltas(5)
            await writer.finish()
            seen += await other.all_frames(URL, {"Last-Event-ID": str(ids(seen)[-1])})
            assert ids(seen) == list(range(1, 18))
            assert seen[-1].event == "run.closed"

    run(scenario())
