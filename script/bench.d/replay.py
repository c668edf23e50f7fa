"""Replay: one client reads a run of 100,000 events over SSE from a uvicorn server of its own process.

The baseline is a route without stored bytes: an async generator reads batches of events, decodes each one, encodes it
into its frame and yields it to Starlette's StreamingResponse. A second baseline does the decoding and encoding inside
our route, with our batches, read-ahead and socket writes, so that the two gains can be distinguished. Rounds
alternate; the figures are medians. Time runs from the request to `run.closed`; afterwards the client checks that every
seq came once and in order.
"""

import asyncio
import re
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from _measuring import CommandLine, conclude, machine, postgres, show

from domain.event import Event
from domain.record import Metadata, NewEvent
from domain.run.events import MessageDelta, RunFinished, RunQueued
from domain.run.values import Message, RunSpec
from infrastructure.postgres.event_store.store import GroupCommitEventStore
from infrastructure.postgres.migrations import migrate
from tests.support.memory import resident_bytes

DELTA = MessageDelta(text="A piece of an agent's answer, as long as such pieces usually are. " * 2, lease_generation=1)
SPEC = RunSpec(
    session_id="bench", user_login_name="bench", provider="scripted", messages=(Message(role="user", content="go"),)
)
METADATA = Metadata(actor="bench", correlation_id="0123456789abcdef0123456789abcdef", trace_id="0123456789abcdef")
SERVER = Path(__file__).with_name("_stream_server.py")
MEGABYTE = 1024 * 1024
OURS, BATCHED, BASELINE = "api", "decoding", "frame-by-frame"
ROUTES = {
    BASELINE: "decode + encode, frame by frame",
    BATCHED: "decode + encode, in our batches",
    OURS: "stored bytes",
}


class Replayed(NamedTuple):
    """Events per second, and by how many bytes the server's memory rose."""

    rate: float
    growth: int


async def write_run(dsn: str, run_id: str, events: int) -> None:
    """A finished run with `events` events in all."""
    async with GroupCommitEventStore(dsn) as store:
        all_events: list[Event] = [RunQueued(spec=SPEC), *[DELTA] * (events - 2)]
        all_events.append(RunFinished(outcome="succeeded", exported=True))
        seq = 0
        while seq < events:
            new = [
                NewEvent(
                    event_id=f"{run_id}/1/0123456789abcdef/{seq + index}",
                    event=event,
                    occurred_at=datetime.now(UTC),
                    metadata=METADATA,
                )
                for index, event in enumerate(all_events[seq : seq + 1000])
            ]
            seq = (await store.append(f"run:{run_id}", seq, new)).last_seq


@contextmanager
def server(dsn: str) -> Iterator[tuple[int, int]]:
    """The port and process id of a server."""
    process = subprocess.Popen([sys.executable, SERVER, dsn], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield int(process.stdout.readline()), process.pid
    finally:
        process.stdin.close()
        process.wait(30)
        process.stdout.close()


def replay(port: int, process: int, route: str, events: int) -> Replayed:
    """Read a stream to its end."""
    before = resident_bytes(process)
    peak, done = [before], threading.Event()

    def watch() -> None:
        while not done.wait(0.01):
            peak.append(resident_bytes(process))

    watcher = threading.Thread(target=watch)
    watcher.start()
    parts: list[bytes] = []
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        began = time.perf_counter()
        connection.sendall(
            f"GET /{route}/runs/r/stream HTTP/1.1\r\nHost: bench\r\nAccept: text/event-stream\r\n\r\n".encode()
        )
        end = b""
        while b"event: run.closed" not in end:
            part = connection.recv(256 * 1024)
            if not part:
                raise ConnectionError("the server closed the connection")
            parts.append(part)
            end = end[-200:] + part[-200:]
        seconds = time.perf_counter() - began
    done.set()
    watcher.join()
    seqs = [int(seq) for seq in re.findall(rb"^id: (\d+)$", unchunked(b"".join(parts)), re.MULTILINE)]
    if seqs != list(range(1, events + 1)):
        raise AssertionError(f"{len(seqs)} of {events} events came, or not in order")
    return Replayed(events / seconds, max(peak) - before)


def unchunked(response: bytes) -> bytes:
    """The body of a chunked response; what follows the last complete chunk is left out."""
    at = response.index(b"\r\n\r\n") + 4
    parts = []
    while (line_end := response.find(b"\r\n", at)) > 0:
        size = int(response[at:line_end], 16)
        if size == 0 or line_end + 2 + size > len(response):
            break
        parts.append(response[line_end + 2 : line_end + 2 + size])
        at = line_end + 4 + size
    return b"".join(parts)


def bench(events: int, rounds: int) -> dict[str, Any]:
    with postgres() as database_server:
        host = machine(database_server)
        asyncio.run(migrate(database_server.dsn))
        asyncio.run(write_run(database_server.dsn, "r", events))
        return measure(database_server.dsn, events, rounds, host)


def measure(dsn: str, events: int, rounds: int, host: dict[str, Any]) -> dict[str, Any]:
    results: dict[str, list[Replayed]] = {route: [] for route in ROUTES}
    with server(dsn) as (port, process):
        for measured in range(-1, rounds):  # the first round warms all of them up
            for route in ROUTES:
                replayed = replay(port, process, route, events)
                if measured >= 0:
                    results[route].append(replayed)
    return report(results, events, rounds, host)


def report(results: dict[str, list[Replayed]], events: int, rounds: int, host: dict[str, Any]) -> dict[str, Any]:
    rates = {route: statistics.median([replayed.rate for replayed in of_route]) for route, of_route in results.items()}
    growth = {route: max(replayed.growth for replayed in of_route) / MEGABYTE for route, of_route in results.items()}
    rows = [
        (
            name,
            f"{rates[route]:,.0f}",
            f"{rates[route] / rates[BASELINE]:.2f}x",
            f"+{growth[route]:.1f} MB",
            " ".join(f"{replayed.rate:,.0f}" for replayed in results[route]),
        )
        for route, name in ROUTES.items()
    ]
    title = f"replay of {events:,} events over SSE, medians of {rounds} rounds"
    show(title, ("route", "events/s", "ratio", "memory", "rounds"), rows, host)
    return {
        "bench": "replay",
        "rounds": rounds,
        "ours": round(rates[OURS]),
        "baseline": round(rates[BASELINE]),
        "ratio": round(rates[OURS] / rates[BASELINE], 2),
        "baseline_in_our_batches": round(rates[BATCHED]),
        "ratio_in_our_batches": round(rates[OURS] / rates[BATCHED], 2),
        "events": events,
        "memory_growth_mb": round(growth[OURS], 1),
        "machine": host,
    }


def main() -> None:
    parser = CommandLine("replay", __doc__, rounds=5)
    parser.add_size("--events", 100_000, toy=1_500)
    arguments = parser.parse()
    result = bench(arguments.events, arguments.rounds)
    conclude(result, as_json=arguments.json)


if __name__ == "__main__":
    main()
