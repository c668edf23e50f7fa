"""Search of a log of 1,000,000 events by every filter, through the index, against a scan of the log by the same filter.

The figures are milliseconds for the first page of 100 events, as GET /api/events reads it: the median of all filters,
and the slowest one. The index is made by the indexer that every `worker` process runs; its rate is shown, too.
"""

import asyncio
import statistics
import time
from typing import Any

import uvloop
from _measuring import CommandLine, conclude, machine, postgres, show
from _mixed_log import fill

from application.ports.event_streams import EventFilter
from infrastructure.postgres.connections import open_pool
from infrastructure.postgres.event_store.store import GroupCommitEventStore
from infrastructure.postgres.listener import PostgresListener
from infrastructure.postgres.migrations import migrate
from infrastructure.postgres.search.event_search import PostgresEventSearch
from infrastructure.postgres.search.indexer import EventIndexer
from infrastructure.streams.feed_query import feed_query
from tests.support.log_events import new_event

PAGE = 100


def filters(middle: Any, early: Any) -> dict[str, EventFilter]:
    return {
        "a frequent type": EventFilter(types=("message.delta",)),
        "a rare type": EventFilter(types=("test.noted",)),
        "a stream": EventFilter(stream="run:run-4000"),
        "an actor of everything": EventFilter(actor="tester"),
        "an actor of one event": EventFilter(actor="ann"),
        "a correlation": EventFilter(correlation_id="run:run-9000"),
        "a time": EventFilter(recorded_from=middle),
        "a rare type in a time": EventFilter(types=("run.finished",), recorded_from=early, recorded_to=middle),
        "a frequent word": EventFilter(text="agent"),
        "two frequent words": EventFilter(text="agent file"),
        "a rare word": EventFilter(text="needle"),
        "a word of some events": EventFilter(text="resume_unsupported"),
        "a frequent and a rare word": EventFilter(text="agent needle"),
        "a word that is nowhere": EventFilter(text="nonesuch"),
        "a frequent word of one stream": EventFilter(text="agent", stream="run:run-9000"),
        "a word, a type and an actor": EventFilter(text="passed", types=("tool.end",), actor="tester"),
    }


async def filled_and_indexed(dsn: str, events: int) -> tuple[int, float]:
    """The last position, and how many events a second were indexed."""
    await migrate(dsn)
    async with GroupCommitEventStore(dsn) as store, PostgresListener(dsn) as listener, await open_pool(dsn) as pool:
        last = await fill(store, events)
        last = (await store.append("note:1", 0, [new_event("the needle of an agent", actor="ann")])).position
        search, indexer = PostgresEventSearch(pool), asyncio.create_task(EventIndexer(dsn, listener.position).run())
        began = time.perf_counter()
        while await search.indexed() < last:  # noqa: ASYNC110
            await asyncio.sleep(0.1)
        rate = last / (time.perf_counter() - began)
        indexer.cancel()
        async with pool.connection() as connection:
            for table in ("events", "event_index"):
                await connection.execute("SET statement_timeout = 0")
                await connection.execute(f"VACUUM ANALYZE {table}")
    return last, rate


async def measured(dsn: str, rounds: int, last: int) -> dict[str, tuple[float, float]]:
    """Median milliseconds of the search and of the scan, by filter."""
    found: dict[str, tuple[float, float]] = {}
    async with GroupCommitEventStore(dsn) as store, await open_pool(dsn) as pool:
        search = PostgresEventSearch(pool)
        middle = (await store.read_all(after=last // 2, limit=1))[0].recorded_at
        early = (await store.read_all(after=last // 3, limit=1))[0].recorded_at
        for name, wanted in filters(middle, early).items():
            ours, scans = [], []
            for _ in range(rounds):
                began = time.perf_counter()
                await search.find(wanted, 0, PAGE)
                ours.append((time.perf_counter() - began) * 1000)
            statement, arguments = feed_query(wanted)
            bounds = {"after": 0, "up_to": last, "max_rows": PAGE, "max_bytes": 8 << 20, "tenant": "default"}
            if wanted.text:
                statement = statement.replace("true", "convert_from(payload, 'UTF8') ~* %(text)s", 1)
                arguments["text"] = wanted.text.split()[0]
            async with pool.connection() as connection:
                began = time.perf_counter()
                await connection.execute(statement, arguments | bounds)
                scans.append((time.perf_counter() - began) * 1000)
            found[name] = statistics.median(ours), statistics.median(scans)
    return found


def run(events: int, rounds: int) -> dict[str, Any]:
    with postgres() as server:
        host = machine(server)
        dsn = server.create_database()
        last, rate = uvloop.run(filled_and_indexed(dsn, events))
        found = uvloop.run(measured(dsn, rounds, last))
    rows = [(name, f"{ours:.1f}", f"{scan:.1f}", f"{scan / ours:.2f}x") for name, (ours, scan) in found.items()]
    ours, scans = [pair[0] for pair in found.values()], [pair[1] for pair in found.values()]
    mine, theirs = statistics.median(ours), statistics.median(scans)
    rows.append(("the median of all", f"{mine:.1f}", f"{theirs:.1f}", f"{theirs / mine:.2f}x"))
    title = f"search: {last:,} events, {rate:,.0f} indexed a second, medians of {rounds} rounds"
    show(title, ("filter", "search ms", "scan ms", "ratio"), rows, host)
    return {
        "bench": "search",
        "rounds": rounds,
        "ours": round(mine, 1),
        "baseline": round(theirs, 1),
        "ratio": round(theirs / mine, 2),
        "slowest_ms": round(max(ours), 1),
        "slowest_scan_ms": round(max(scans), 1),
        "indexed_per_second": round(rate),
        "events": last,
        "machine": host,
    }


def main() -> None:
    parser = CommandLine("search", __doc__, rounds=5)
    parser.add_size("--events", 1_000_000, toy=2_000)
    arguments = parser.parse()
    conclude(run(arguments.events, arguments.rounds), as_json=arguments.json)


if __name__ == "__main__":
    main()
