"""Lost connections: subscribers go on, and miss nothing."""

import asyncio
import time
from pathlib import Path

import psycopg
import pytest

from infrastructure.embedded.postgres import EmbeddedPostgres
from infrastructure.postgres.migrations import migrate
from tests.support.async_run import run
from tests.support.streaming import streaming

URL = "/api/runs/r1/stream"


async def terminate(dsn: str, query_like: str) -> int:
    """End the connections whose last statement is like that; how many there were."""
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
        cursor = await connection.execute(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid() AND query ILIKE %s",
            [query_like],
        )
        row = await cursor.fetchone()
        assert row is not None
        return int(row[0])


async def terminate_some(dsn: str, query_like: str) -> None:
    """Try until there was one: it may be about to connect again."""
    for _ in range(500):
        if await terminate(dsn, query_like):
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"no connection had {query_like} as its last statement")


# The listener's, the tail's, everybody's; by their last statements.
@pytest.mark.parametrize("lost", ["%max(position)%", "%bounded%", "%"])
def test_subscribers_go_on_within_a_second_after_a_connection_is_killed(database: str, lost: str) -> None:
    async def scenario() -> None:
        async with streaming(database) as s:
            writer = s.run("r1")
            await writer.queue()
            async with s.frames(URL) as frames:
                while (await anext(frames)).event != "caught-up":
                    pass
                delays = []
                for _ in range(5):
                    await terminate_some(database, lost)
                    await writer.deltas(10)
                    acknowledged = time.monotonic()
                    seqs = [int((await anext(frames)).id) for _ in range(10)]
                    assert seqs == list(range(writer.seq - 9, writer.seq + 1))
                    delays.append(time.monotonic() - acknowledged)
                assert min(delays) < 1, delays  # a busy machine may be late now and then

    run(scenario())


def test_new_clients_are_served_after_every_connection_was_killed(database: str) -> None:
    async def scenario() -> None:
        async with streaming(database) as s:
            writer = s.run("r1")
            await writer.queue()
            await writer.deltas(50)
            await writer.finish()
            for _ in range(3):
                await s.all_frames(URL)
                await terminate(database, "%")
                async with asyncio.timeout(90):
                    response = await s.client.get(URL)
                assert response.status_code == 200, response.text
                assert response.text.count("\nevent: ") == 53 + 2

    run(scenario())


@pytest.mark.proof
def test_subscribers_and_waiters_go_on_after_the_database_was_restarted(tmp_path: Path) -> None:
    async def scenario() -> None:
        server = EmbeddedPostgres(tmp_path)
        dsn = await server.start()
        try:
            await migrate(dsn)
            async with streaming(dsn) as s:
                writer = s.run("r1")
                await writer.queue()
                async with s.frames(URL) as frames:
                    while (await anext(frames)).event != "caught-up":
                        pass
                    waiting = asyncio.create_task(s.hub.wait_for_stream(writer.stream, writer.seq, 60))
                    await server.stop()
                    appending = asyncio.create_task(writer.deltas(10))
                    await server.start()
                    assert [int((await anext(frames)).id) for _ in range(10)] == list(range(2, 12))
                    assert await waiting
                    await appending
        finally:
            await server.stop()

    run(scenario(), timeout=250)


def test_a_topic_that_fails_sends_its_own_clients_away_and_nobody_else(
    database: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        async with streaming(database) as s:
            good, bad = s.run("r1"), s.run("r2")
            await good.queue()
            await bad.queue()
            async with s.frames(URL) as frames, s.frames("/api/runs/r2/stream") as bad_frames:
                for both in (frames, bad_frames):
                    while (await anext(both)).event != "caught-up":
                        pass

                def fail(*_: object) -> bytes:
                    raise RuntimeError("no frame")

                monkeypatch.setattr(s.hub._runs["run:r2"], "frame", fail)
                await bad.deltas(1)
                assert [frame async for frame in bad_frames] == []
                await good.deltas(1)
                assert (await anext(frames)).id == "2"
                assert s.hub.healthy

    run(scenario())
    assert "a topic could not pass events on" in caplog.text
