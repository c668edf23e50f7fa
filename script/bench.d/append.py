"""One-event appends per second: Fleetlog's log against the eventsourcing library's own Postgres recorder, in turn.

Both write the same payload bytes with the same number of pooled connections to the same server, with fsync and
synchronous_commit on; ours with all its columns, indexes and the hash chain. Each round runs the baseline and every
variant of ours; the figures are medians of the rounds.
"""

import argparse
import asyncio
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import msgspec
import uvloop
from eventsourcing.persistence import StoredEvent
from eventsourcing.postgres import PostgresFactory
from psycopg.conninfo import conninfo_to_dict
from rich.console import Console
from rich.table import Table

from domain.event import encode
from domain.record import Metadata, NewEvent
from domain.run.events import MessageDelta
from infrastructure.eventstore.factory import FleetlogFactory
from infrastructure.eventstore.store import GroupCommitEventStore
from infrastructure.postgres.migrations import migrate
from tests.support.throwaway_postgres import BINARIES, PostgresServer

DELTA = MessageDelta(text="A piece of an agent's answer, as long as such pieces usually are. " * 2, lease_generation=1)
PAYLOAD = encode(DELTA)
METADATA = Metadata(actor="bench", correlation_id="0123456789abcdef0123456789abcdef", trace_id="0123456789abcdef")
MILLISECONDS = 1000


class Measured(NamedTuple):
    """Appends per second, and the 99th percentile of one append's time in milliseconds."""

    rate: float
    p99_ms: float


def measured(seconds: float, latencies: list[float]) -> Measured:
    latencies.sort()
    return Measured(len(latencies) / seconds, latencies[int(len(latencies) * 0.99)] * MILLISECONDS)


def in_threads(callers: int, seconds: float, append: Callable[[str, int], Any]) -> Measured:
    """Each thread appends to a stream of its own, one event after the other."""
    latencies: list[list[float]] = [[] for _ in range(callers)]
    start = threading.Barrier(callers + 1)
    stop = threading.Event()
    errors: list[BaseException] = []

    def caller(number: int) -> None:
        stream, seq = f"run:{number}-{time.monotonic_ns()}", 0
        try:
            for _ in range(5):
                append(stream, seq := seq + 1)
            start.wait()
            while not stop.is_set():
                began = time.perf_counter()
                append(stream, seq := seq + 1)
                latencies[number].append(time.perf_counter() - began)
        except BaseException as error:
            errors.append(error)
            start.abort()

    threads = [threading.Thread(target=caller, args=(number,)) for number in range(callers)]
    for thread in threads:
        thread.start()
    start.wait()
    began = time.perf_counter()
    stop.wait(seconds)
    stop.set()
    elapsed = time.perf_counter() - began
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return measured(elapsed, [latency for of_caller in latencies for latency in of_caller])


def baseline(dsn: str, callers: int, seconds: float, pool: int) -> Measured:
    """The library's own recorder, as an application uses it."""
    part = conninfo_to_dict(dsn)
    factory = PostgresFactory({
        "POSTGRES_DBNAME": str(part["dbname"]),
        "POSTGRES_HOST": str(part["host"]),
        "POSTGRES_USER": str(part["user"]),
        "POSTGRES_PASSWORD": str(part["password"]),
        "POSTGRES_POOL_SIZE": str(pool),
        "POSTGRES_MAX_OVERFLOW": "0",
        "ORIGINATOR_ID_TYPE": "text",
    })  # fmt: skip
    recorder = factory.application_recorder()
    try:
        return in_threads(
            callers,
            seconds,
            lambda stream, seq: recorder.insert_events([StoredEvent(stream, seq, "message.delta", PAYLOAD)]),
        )
    finally:
        factory.close()


def ours_in_threads(dsn: str, callers: int, seconds: float, pool: int) -> Measured:
    factory = FleetlogFactory({"DATABASE_URL": dsn, "CREATE_TABLE": "no", "POSTGRES_POOL_SIZE": str(pool)})
    recorder = factory.application_recorder()
    try:
        return in_threads(
            callers,
            seconds,
            lambda stream, seq: recorder.insert_events([StoredEvent(stream, seq, "message.delta", PAYLOAD)]),
        )
    finally:
        factory.close()


async def ours(dsn: str, callers: int, seconds: float, pool: int) -> Measured:
    latencies: list[float] = []
    async with GroupCommitEventStore(dsn, readers=pool - 1) as store:
        deadline = time.perf_counter() + seconds

        async def caller(number: int) -> None:
            run, seq = f"{number}-{time.monotonic_ns()}", 0
            stream = f"run:{run}"
            while (began := time.perf_counter()) < deadline:
                await store.append(stream, seq, [new_delta(f"{run}/1/0123456789abcdef/{seq}")])
                latencies.append(time.perf_counter() - began)
                seq += 1

        began = time.perf_counter()
        await asyncio.gather(*[caller(number) for number in range(callers)])
        return measured(time.perf_counter() - began, latencies)


def new_delta(event_id: str) -> NewEvent:
    return NewEvent(event_id=event_id, event=DELTA, occurred_at=datetime.now(UTC), metadata=METADATA)


def ours_async(dsn: str, callers: int, seconds: float, pool: int) -> Measured:
    return uvloop.run(ours(dsn, callers, seconds, pool))


def fsync_microseconds(folder: Path) -> float:
    """The median time of an 8 kB write with fdatasync in this folder."""
    block, times = b"x" * 8192, []
    with (folder / "fsync").open("wb", buffering=0) as file:
        for _ in range(300):
            file.seek(0)
            file.write(block)
            began = time.perf_counter()
            os.fdatasync(file.fileno())
            times.append(time.perf_counter() - began)
    return statistics.median(times) * 1e6


def machine(fsync_us: float) -> dict[str, Any]:
    model = next(
        (
            line.split(":", 1)[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        "",
    )
    postgres = subprocess.run(
        [BINARIES / "postgres", "--version"], capture_output=True, text=True, check=True, timeout=10
    )
    return {
        "cpus": os.cpu_count(),
        "model": model,
        "fsync_us": round(fsync_us, 1),
        "python": platform.python_version(),
        "postgres": postgres.stdout.split()[-1],
    }


VARIANTS: dict[str, tuple[Callable[[str, int, float, int], Measured], int]] = {
    "baseline_32": (baseline, 32),
    "async_32": (ours_async, 32),
    "sync_32": (ours_in_threads, 32),
    "baseline_1": (baseline, 1),
    "async_1": (ours_async, 1),
    "sync_1": (ours_in_threads, 1),
}


def run(rounds: int, seconds: float, pool: int, only: list[str]) -> dict[str, Any]:
    folder = Path(tempfile.mkdtemp(prefix="fleetlog-bench-"))
    server = PostgresServer(folder)
    try:
        results: dict[str, list[Measured]] = {name: [] for name in VARIANTS if not only or name in only}
        for _ in range(rounds):
            for name in results:
                measure, callers = VARIANTS[name]
                dsn = server.create_database()
                if measure is not baseline:
                    asyncio.run(migrate(dsn))
                results[name].append(measure(dsn, callers, seconds, pool))
        return report(results, rounds, machine(fsync_microseconds(folder)), pool)
    finally:
        server.stop("immediate")
        shutil.rmtree(folder)


def report(results: dict[str, list[Measured]], rounds: int, host: dict[str, Any], pool: int) -> dict[str, Any]:
    rate = {name: statistics.median(m.rate for m in of_rounds) for name, of_rounds in results.items()}
    p99 = {name: statistics.median(m.p99_ms for m in of_rounds) for name, of_rounds in results.items()}
    table = Table(
        title=f"append: one-event appends, {len(PAYLOAD)} bytes of payload, medians of {rounds} rounds, pool of {pool}"
    )
    for column in ("variant", "appends/s", "p99 ms", "ratio", "rounds"):
        table.add_column(column, justify="left" if column == "variant" else "right")
    ratio = {}
    for name in rate:
        against = "baseline_" + name.rsplit("_", 1)[1]
        if name != against and against in rate:
            ratio[name] = rate[name] / rate[against]
        each = " ".join(f"{m.rate:,.0f}" for m in results[name])
        table.add_row(
            name, f"{rate[name]:,.0f}", f"{p99[name]:.2f}", f"{ratio[name]:.1f}x" if name in ratio else "", each
        )
    console = Console(stderr=False, width=110)
    console.print(table)
    console.print(", ".join(f"{name} {value}" for name, value in host.items()))
    return {
        "bench": "append",
        "rounds": rounds,
        "ours": round(rate.get("async_32", 0)),
        "baseline": round(rate.get("baseline_32", 0)),
        "ratio": round(ratio.get("async_32", 0), 2),
        **{f"ratio_{name}": round(value, 2) for name, value in ratio.items()},
        **{f"rate_{name}": round(value) for name, value in rate.items()},
        **{f"p99_ms_{name}": round(value, 3) for name, value in p99.items()},
        "machine": host,
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="script/bench append", description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object on the last line")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3.0, help="per variant and round")
    parser.add_argument("--pool", type=int, default=5, help="connections of each side")
    parser.add_argument("--only", nargs="*", default=[], choices=list(VARIANTS))
    arguments = parser.parse_args()
    result = run(arguments.rounds, arguments.seconds, arguments.pool, arguments.only)
    if arguments.json:
        print(msgspec.json.encode(result).decode())


if __name__ == "__main__":
    main()
