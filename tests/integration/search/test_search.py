"""Search of the log: by type, stream, actor, correlation, time and text, alone and together."""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import msgspec
import pytest

import sql
from application.ports.event_streams import EventFilter
from application.task_cancellation import cancel_and_wait
from domain.errors import InvalidInput
from domain.record import RecordedEvent
from infrastructure.postgres.read_models import progress
from infrastructure.postgres.search import event_search
from infrastructure.postgres.search.event_search import PostgresEventSearch
from infrastructure.postgres.search.indexer import EventIndexer
from projections.ports import EVENT_INDEX
from projections.search_terms import terms_of_text
from tests.support.async_run import run
from tests.support.log_events import new_event
from tests.support.mixed_history import append_all, mixed_history
from tests.support.projecting import ProjectionHarness, projection_harness

pytestmark = pytest.mark.every_postgres


@asynccontextmanager
async def indexing(harness: ProjectionHarness) -> AsyncIterator[PostgresEventSearch]:
    indexer = asyncio.create_task(EventIndexer(harness.dsn, harness.listener.position).run())
    try:
        yield PostgresEventSearch(harness.pool)
    finally:
        await cancel_and_wait([indexer])
        if not indexer.cancelled():
            indexer.result()


async def all_positions(search: PostgresEventSearch, wanted: EventFilter, limit: int = 37) -> list[int]:
    found: list[int] = []
    after = 0
    while True:
        page = await search.find(wanted, after, limit)
        found += [msgspec.json.decode(event)["position"] for event in page.events]
        if not page.more:
            return found
        after = page.last


def fits(wanted: EventFilter, event: RecordedEvent) -> bool:
    texts = " ".join(_texts(msgspec.to_builtins(event.event)))
    return (
        (not wanted.types or event.event.wire_name in wanted.types)
        and wanted.stream in {"", event.stream}
        and wanted.actor in {"", event.metadata.actor}
        and wanted.correlation_id in {"", event.metadata.correlation_id}
        and (wanted.recorded_from is None or event.recorded_at >= wanted.recorded_from)
        and (wanted.recorded_to is None or event.recorded_at <= wanted.recorded_to)
        and terms_of_text(wanted.text) <= terms_of_text(texts)
    )


def _texts(value: Any) -> Sequence[str]:
    if isinstance(value, str):
        return [value]
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [text for child in children for text in _texts(child)]


@pytest.mark.parametrize("near", [event_search.NEAR_POSITIONS, 40])
def test_every_filter_finds_what_a_scan_of_the_whole_log_finds(
    database: str, monkeypatch: pytest.MonkeyPatch, near: int
) -> None:
    monkeypatch.setattr(event_search, "NEAR_POSITIONS", near)

    async def scenario() -> None:
        async with projection_harness(database) as harness, indexing(harness) as search:
            last = await append_all(harness.store, mixed_history(sessions=4, runs_each=2))
            assert await harness.progress.wait_for(EVENT_INDEX, last, timeout=250)
            events = await harness.store.read_all(limit=100_000)
            random_ = random.Random(7)
            choices: dict[str, list[Any]] = {
                "types": [(), ("run.finished",), ("tool.end", "run.queued"), ("nonesuch",)],
                "stream": ["", "run:run-1", "session:session-2", "run:nonesuch"],
                "actor": ["", "tester", "nobody"],
                "correlation_id": ["", "run:run-2", "nonesuch"],
                "recorded_from": [None, events[last // 3].recorded_at],
                "recorded_to": [None, events[last // 2].recorded_at, events[0].recorded_at - timedelta(days=1)],
                "text": ["", "agent", "PYTEST -q", "better agent", "nonesuch", "3 passed", "session-1"],
            }
            for _ in range(150):
                wanted = EventFilter(**{name: random_.choice(values) for name, values in choices.items()})
                expected = [event.position for event in events if fits(wanted, event)]
                assert await all_positions(search, wanted) == expected, wanted

    run(scenario())


def test_actors_are_found_where_the_index_has_not_got_to_yet(database: str) -> None:
    async def scenario() -> None:
        async with projection_harness(database) as harness:
            await harness.store.append("note:1", 0, [new_event("one", actor="ann"), new_event("two", actor="bob")])
            search = PostgresEventSearch(harness.pool)
            assert await all_positions(search, EventFilter(actor="bob")) == [2]
            assert await all_positions(search, EventFilter(text="two")) == []
            async with indexing(harness):
                assert await harness.progress.wait_for(EVENT_INDEX, 2, timeout=250)
                await harness.store.append("note:1", 2, [new_event("three", actor="bob")])
            assert await all_positions(search, EventFilter(actor="bob")) == [2, 3]
            assert await all_positions(search, EventFilter(text="TWO")) == [2]

    run(scenario())


def test_words_of_any_script_and_payloads_of_any_bytes_are_indexed(database: str) -> None:
    texts = [
        "naïve Größe",
        "日本語 テスト",
        "it's \\ 'quoted'",
        "a\u0000b",
        "\U0001f600 smile",
        "x" * 5000,
        "foo/bar.py:12",
    ]

    async def scenario() -> None:
        async with projection_harness(database) as harness, indexing(harness) as search:
            await harness.store.append("note:1", 0, [new_event(text) for text in texts])
            assert await harness.progress.wait_for(EVENT_INDEX, len(texts), timeout=250)
            for text, position in (
                ("größe", 1),
                ("テスト", 2),
                ("quoted it", 3),
                ("b", 4),
                ("smile", 5),
                ("bar.py", 7),
            ):
                assert position in await all_positions(search, EventFilter(text=text)), text
            assert await all_positions(search, EventFilter(text="X" * 5000)) == [6]

    run(scenario())


@pytest.mark.parametrize("text", ["...", " ", " ".join(f"w{n}" for n in range(30))])
def test_a_text_without_words_or_with_too_many_is_refused(database: str, text: str) -> None:
    async def scenario() -> None:
        async with projection_harness(database) as harness:
            with pytest.raises(InvalidInput) as refused:
                await PostgresEventSearch(harness.pool).find(EventFilter(text=text), 0, 10)
            assert refused.value.field == "text"

    run(scenario())


def test_who_waits_for_the_index_is_woken_by_it(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "POLL_SECONDS", 1000)

    async def scenario() -> None:
        async with projection_harness(database) as harness:
            waiting = asyncio.create_task(harness.progress.wait_for(EVENT_INDEX, 1, timeout=90))
            async with indexing(harness):
                await append_all(harness.store, mixed_history(sessions=1))
                assert await waiting

    run(scenario())


def test_how_far_the_index_is_behind_is_told_in_events_and_in_seconds(database: str) -> None:
    async def scenario() -> None:
        async with projection_harness(database) as harness, harness.pool.connection() as connection:

            async def lag() -> tuple[int, float]:
                row = await (await connection.execute(sql.query("search/lag"))).fetchone()
                assert row is not None
                return row[0], row[1]

            assert await lag() == (0, 0.0)
            last = await append_all(harness.store, mixed_history(sessions=1))
            events, seconds = await lag()
            assert events == last
            assert seconds > 0
            async with indexing(harness):
                assert await harness.progress.wait_for(EVENT_INDEX, last, timeout=250)
            assert await lag() == (0, 0.0)

    run(scenario())
