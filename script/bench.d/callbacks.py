"""Callbacks a second of 8 writers to one run, over HTTP, against the log's bare append of the same events.

Ours: each writer posts batches to the same run of a whole `fleetlog up`, projections included; what is refused is
counted. The baseline appends the same events in the same batches from one process, each writer to a stream of its own:
no HTTP, nothing decided, no order between writers. Another row has one callback in each request. Rounds alternate; the
figures are medians.
"""

import asyncio
import http.client
import statistics
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(Path(__file__).resolve().parent))

import msgspec
from _measuring import CommandLine, conclude, machine, postgres, show

from domain.record import Metadata, NewEvent
from domain.run.events import MessageDelta
from infrastructure.postgres.event_store.store import GroupCommitEventStore
from infrastructure.postgres.migrations import migrate
from tests.support.fleetlog_parts import on_database
from tests.support.fleetlog_server import FleetlogServer

TEXT = "A piece of an agent's answer, as long as such pieces usually are. "
RAISED = {"MAX_REQUESTS_PER_SECOND": "1000000"}
METADATA = Metadata(actor="bench", correlation_id="0123456789abcdef0123456789abcdef", trace_id="0123456789abcdef")


class Size(NamedTuple):
    """`each`: callbacks of a writer in a round; `batch`: in a request."""

    writers: int
    each: int
    batch: int


class Posted(NamedTuple):
    """Callbacks a second, the 99th percentile of a request in milliseconds, and how many requests were refused."""

    rate: float
    p99_ms: float
    refused: int


def bodies(writer: int, size: Size) -> list[bytes]:
    """NDJSON, made before the clock runs."""
    lines = [
        msgspec.json.encode({"eventId": f"{writer}-{n}", "type": "message.delta", "payload": {"text": TEXT}})
        for n in range(size.each)
    ]
    return [b"\n".join(lines[first : first + size.batch]) for first in range(0, size.each, size.batch)]


def post(port: int, run_id: str, requests: list[bytes]) -> tuple[list[float], int]:
    """Seconds of each request, and how many of them were refused."""
    connection, times, refused = http.client.HTTPConnection("127.0.0.1", port, timeout=120), [], 0
    for body in requests:
        began = time.perf_counter()
        connection.request(
            "POST", f"/api/runs/{run_id}/callbacks", body, {"content-type": "application/x-ndjson", "host": "localhost"}
        )
        answer = connection.getresponse()
        answer.read()
        refused += answer.status != http.client.OK
        times.append(time.perf_counter() - began)
    connection.close()
    return times, refused


def posted(server: FleetlogServer, size: Size, run_id: str) -> Posted:
    server.ok("POST", f"/api/runs/{run_id}/bind", json={"sessionId": "bench"})
    requests = [bodies(writer, size) for writer in range(size.writers)]
    with ThreadPoolExecutor(size.writers) as threads:
        began = time.perf_counter()
        done = list(threads.map(lambda mine: post(server.port, run_id, mine), requests))
        took = time.perf_counter() - began
    times = sorted(seconds for mine, _ in done for seconds in mine)
    server.ok("POST", f"/api/runs/{run_id}/stop")
    return Posted(
        size.writers * size.each / took, times[int(0.99 * (len(times) - 1))] * 1000, sum(refused for _, refused in done)
    )


async def appended(dsn: str, size: Size, name: str) -> float:
    """Events a second of the log alone."""

    async def write(store: GroupCommitEventStore, writer: int) -> None:
        for first in range(0, size.each, size.batch):
            new = [
                NewEvent(
                    event_id=f"cb/{writer}-{n}",
                    event=MessageDelta(text=TEXT),
                    occurred_at=datetime.now(UTC),
                    metadata=METADATA,
                )
                for n in range(first, min(first + size.batch, size.each))
            ]
            await store.append(f"run:{name}-{writer}", first, new)

    async with GroupCommitEventStore(dsn) as store:
        began = time.perf_counter()
        await asyncio.gather(*(write(store, writer) for writer in range(size.writers)))
        return size.writers * size.each / (time.perf_counter() - began)


def run(size: Size, singles: int, rounds: int) -> dict[str, Any]:
    alone = Size(size.writers, singles, 1)
    ours, one_each, baseline = list[Posted](), list[Posted](), list[float]()
    with postgres() as server, tempfile.TemporaryDirectory(prefix="fleetlog-bench-") as folder:
        host = machine(server)
        dsns = server.create_database(), server.create_database()
        for dsn in dsns:
            asyncio.run(migrate(dsn))
        with FleetlogServer(Path(folder) / "home", **on_database(dsns[0]), **RAISED) as fleetlog:
            for number in range(rounds):
                ours.append(posted(fleetlog, size, f"batches-{number}"))
                one_each.append(posted(fleetlog, alone, f"singles-{number}"))
                baseline.append(asyncio.run(appended(dsns[1], size, f"round-{number}")))
    return report(size, ours, one_each, statistics.median(baseline), host)


def report(
    size: Size, ours: list[Posted], one_each: list[Posted], baseline: float, host: dict[str, Any]
) -> dict[str, Any]:
    rate, single = (statistics.median(each.rate for each in rounds) for rounds in (ours, one_each))
    p99, single_p99 = (statistics.median(each.p99_ms for each in rounds) for rounds in (ours, one_each))
    refused = sum(each.refused for each in (*ours, *one_each))
    show(
        f"callbacks of {size.writers} writers to one run, medians of {len(ours)} rounds; {refused} requests refused",
        ("variant", "callbacks/s", "ratio", "request p99 ms"),
        [
            ("the log alone, a stream each", f"{baseline:,.0f}", "1.0x", ""),
            (f"batches of {size.batch}", f"{rate:,.0f}", f"{rate / baseline:.2f}x", f"{p99:.1f}"),
            ("one in a request", f"{single:,.0f}", f"{single / baseline:.2f}x", f"{single_p99:.1f}"),
        ],
        host,
    )
    return {
        "bench": "callbacks",
        "rounds": len(ours),
        "ours": round(rate),
        "baseline": round(baseline),
        "ratio": round(rate / baseline, 3),
        "unit": "callbacks/s",
        "one_in_a_request": round(single),
        "p99_ms": round(p99, 2),
        "refused": refused,
        "machine": host,
    }


def main() -> None:
    parser = CommandLine("callbacks", __doc__, rounds=5)
    parser.add_size("--writers", 8, toy=2)
    parser.add_size("--each", 5_000, toy=20, about="callbacks of each writer")
    parser.add_size("--batch", 100, toy=5, about="callbacks in a request")
    parser.add_size("--singles", 500, toy=5, about="callbacks of each writer, one in a request")
    arguments = parser.parse()
    size = Size(arguments.writers, arguments.each, arguments.batch)
    conclude(run(size, arguments.singles, arguments.rounds), as_json=arguments.json)


if __name__ == "__main__":
    main()
