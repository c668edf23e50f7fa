"""What anybody with access to the tables can check and read."""

import asyncio
from datetime import UTC, datetime

import psycopg
import pytest

from infrastructure.postgres.event_store.store import GroupCommitEventStore
from tests.support.hash_chain import broken_links
from tests.support.log_events import Noted, new_event, new_events

pytestmark = pytest.mark.every_postgres


def fill(dsn: str) -> None:
    async def run() -> None:
        async with GroupCommitEventStore(dsn) as store:
            await asyncio.gather(
                store.append("run:1", 0, new_events("a", "b", "c")),
                store.append("run:2", 0, new_events("ü, ✓ and 🚀")),
                store.append("run:1", 3, new_events("d")),
                store.append("run:1", 7, new_events("refused")),
                return_exceptions=True,
            )
            await asyncio.gather(store.append("run:2", 1, new_events("e")), store.append("run:1", 4, new_events("f")))

    asyncio.run(run())


def test_an_independent_implementation_finds_the_chain_unbroken(database: str) -> None:
    fill(database)
    assert broken_links(database) == []


@pytest.mark.parametrize(
    "change",
    [
        "seq = seq + 1",
        "stream = 'run:3'",
        "type = 'test.counted'",
        "schema_version = 2",
        "event_id = 'other'",
        "occurred_at = occurred_at + interval '1 microsecond'",
        "recorded_at = recorded_at + interval '1 microsecond'",
        "metadata = replace(metadata, 'tester', 'nobody')",
        "payload = 'x'",
        "payload_hash = sha256('x')",
    ],
)
def test_any_change_of_a_row_breaks_the_chain_there(database: str, change: str) -> None:
    fill(database)
    with psycopg.connect(database) as connection:
        connection.execute(f"UPDATE events SET {change} WHERE position = 2".encode())
    assert broken_links(database)[0] == 2


def test_the_recording_time_is_the_databases_and_never_decreases(database: str) -> None:
    began = datetime.now(UTC)
    fill(database)
    with psycopg.connect(database) as connection:
        times = [time for (time,) in connection.execute("SELECT recorded_at FROM events ORDER BY position")]
    assert times == sorted(times)
    assert began <= times[0]
    assert times[-1] <= datetime.now(UTC)


def test_the_view_shows_json_and_gives_null_where_jsonb_refuses(database: str) -> None:
    async def run() -> None:
        async with GroupCommitEventStore(database) as store:
            await store.append("run:1", 0, [new_event("plain"), new_event("with \0 inside")])

    asyncio.run(run())
    with psycopg.connect(database) as connection:
        plain, refused = connection.execute(
            "SELECT payload, payload_text, metadata->>'actor', payload_bytes FROM events_readable ORDER BY position"
        ).fetchall()
    assert plain == ({"text": "plain"}, '{"text":"plain"}', "tester", b'{"text":"plain"}')
    assert refused[:3] == (None, '{"text":"with \\u0000 inside"}', "tester")


def test_the_view_survives_payloads_that_are_no_text(database: str) -> None:
    fill(database)
    with psycopg.connect(database) as connection:
        connection.execute("UPDATE events SET payload = '\\xff00' WHERE position = 1")
        row = connection.execute("SELECT payload, payload_text FROM events_readable WHERE position = 1").fetchone()
    assert row == (None, None)


def test_the_view_can_be_read_by_parallel_workers(database: str) -> None:
    fill(database)
    with psycopg.connect(database) as connection:
        mode = "debug_parallel_query" if connection.info.server_version >= 160_000 else "force_parallel_mode"
        connection.execute(f"SET {mode} = 'on'".encode())
        rows = connection.execute("SELECT payload, metadata FROM events_readable").fetchall()
    assert all(payload and metadata for payload, metadata in rows)


def test_a_payload_that_jsonb_refuses_is_still_read_back(database: str) -> None:
    async def run() -> None:
        async with GroupCommitEventStore(database) as store:
            await store.append("run:1", 0, [new_event("with \0 inside")])
            assert [e.event for e in await store.read_stream("run:1")] == [Noted(text="with \0 inside")]

    asyncio.run(run())


def test_the_streams_view_has_the_head_of_each_stream_and_finds_one_without_reading_them_all(database: str) -> None:
    fill(database)
    with psycopg.connect(database) as connection:
        heads = connection.execute("SELECT stream, last_seq, last_position FROM streams ORDER BY stream").fetchall()
        assert heads == [("run:1", 5, 7), ("run:2", 2, 6)]
        plan = connection.execute(
            "EXPLAIN SELECT last_seq FROM streams WHERE tenant = 'default' AND stream = 'run:1'"
        ).fetchall()
    assert any("Index Cond" in line for (line,) in plan)
