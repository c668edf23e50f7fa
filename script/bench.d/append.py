"""One-event appends per second: Fleetlog's log against the eventsourcing library's own Postgres recorder, in turn.

Both write the same payload bytes with the same number of pooled connections to the same server, with fsync and
synchronous_commit on; ours with all its columns, indexes and the hash chain. Each round runs the baseline and every
variant of ours; the figures are medians of the rounds.
"""

import asyncio
import statistics
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, NamedTuple

import psycopg
import uvloop
from _measuring import CommandLine, conclude, library_environment, machine, postgres, show
from eventsourcing.persistence import StoredEvent
from eventsourcing.postgres import PostgresFactory

import sql
from domain.event import encode
from domain.record import Metadata, NewEvent
from domain.run.events import MessageDelta
from infrastructure.eventsourcing_library.factory import FleetlogFactory
from infrastructure.postgres.event_store.store import GroupCommitEventStore
from infrastructure.postgres.migrations import migrate

DELTA = MessageDelta(text="A piece of an agent's answer, as long as such pieces usually are. " * 2, lease_generation=1)
PAYLOAD = encode(DELTA)
METADATA = Metadata(actor="bench", correlation_id="0123456789abcdef0123456789abcdef", trace_id="0123456789abcdef")
MILLISECONDS = 1000
CHAINED = "SELECT sha256(record_send(ROW($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)))"
UNCHAINED = sql.folder("functions")["event_chain_hash"].replace(CHAINED, "SELECT $12")
assert CHAINED not in UNCHAINED


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
    factory = PostgresFactory({
        **library_environment(dsn),
        "POSTGRES_POOL_SIZE": str(pool),
        "POSTGRES_MAX_OVERFLOW": "0",
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


def ours_unchained(dsn: str, callers: int, seconds: float, pool: int) -> Measured:
    """Without the hash chain: the SQL function for an event's hash returns the payload's hash instead."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(UNCHAINED.encode())
    return uvloop.run(ours(dsn, callers, seconds, pool))


VARIANTS: dict[str, tuple[Callable[[str, int, float, int], Measured], int]] = {
    "baseline_32": (baseline, 32),
    "async_32": (ours_async, 32),
    "unchained_32": (ours_unchained, 32),
    "sync_32": (ours_in_threads, 32),
    "baseline_1": (baseline, 1),
    "async_1": (ours_async, 1),
    "sync_1": (ours_in_threads, 1),
}


def run(rounds: int, seconds: float, pool: int, only: list[str]) -> dict[str, Any]:
    with postgres() as server:
        host = machine(server)
        results: dict[str, list[Measured]] = {name: [] for name in VARIANTS if not only or name in only}
        for _ in range(rounds):
            for name, of_rounds in results.items():
                measure, callers = VARIANTS[name]
                dsn = server.create_database()
                if measure is not baseline:
                    asyncio.run(migrate(dsn))
                of_rounds.append(measure(dsn, callers, seconds, pool))
        return report(results, rounds, host, pool)


def chain_cost(rate: dict[str, float]) -> dict[str, float]:
    """By how much the hash chain lowers the rate of appends, in percent."""
    if not {"async_32", "unchained_32"} <= set(rate):
        return {}
    return {"chain_cost_percent": round(100 * (1 - rate["async_32"] / rate["unchained_32"]), 1)}


def report(results: dict[str, list[Measured]], rounds: int, host: dict[str, Any], pool: int) -> dict[str, Any]:
    rate = {name: statistics.median(m.rate for m in of_rounds) for name, of_rounds in results.items()}
    p99 = {name: statistics.median(m.p99_ms for m in of_rounds) for name, of_rounds in results.items()}
    rows, ratio = [], {}
    for name, of_rounds in results.items():
        against = "baseline_" + name.rsplit("_", 1)[1]
        if name != against and against in rate:
            ratio[name] = rate[name] / rate[against]
        shown_ratio = f"{ratio[name]:.1f}x" if name in ratio else ""
        each = " ".join(f"{m.rate:,.0f}" for m in of_rounds)
        rows.append((name, f"{rate[name]:,.0f}", f"{p99[name]:.2f}", shown_ratio, each))
    show(
        f"append: one-event appends, {len(PAYLOAD)} bytes of payload, medians of {rounds} rounds, pool of {pool}",
        ("variant", "appends/s", "p99 ms", "ratio", "rounds"),
        rows,
        host,
    )
    return {
        "bench": "append",
        "rounds": rounds,
        "ours": round(rate.get("async_32", 0)),
        "baseline": round(rate.get("baseline_32", 0)),
        "ratio": round(ratio.get("async_32", 0), 2),
        **chain_cost(rate),
        **{f"ratio_{name}": round(value, 2) for name, value in ratio.items()},
        **{f"rate_{name}": round(value) for name, value in rate.items()},
        **{f"p99_ms_{name}": round(value, 3) for name, value in p99.items()},
        "machine": host,
    }


def main() -> None:
    parser = CommandLine("append", __doc__, rounds=3)
    parser.add_size("--seconds", 3.0, toy=0.2, about="per variant and round")
    parser.add_argument("--pool", type=int, default=5, help="connections of each side")
    parser.add_argument("--only", nargs="*", default=[], choices=list(VARIANTS))
    arguments = parser.parse()
    result = run(arguments.rounds, arguments.seconds, arguments.pool, arguments.only)
    conclude(result, as_json=arguments.json)


if __name__ == "__main__":
    main()
