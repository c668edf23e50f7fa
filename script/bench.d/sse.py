"""Live fan-out: 1,000 SSE clients on 100 runs, every event through the database, against bare uvicorn without one.

Throttle open: both produce as fast as they can; the figure is frames per second over all clients. At the load (20
events a second of each run, or what makes half of the baseline's open figure where that is lower): the 99th percentile
of the time from the commit's acknowledgement to the client, against that from the call that produces the event. Server,
clients and producer are processes of their own; the baseline produces inside its server. Every measurement has fresh
processes and a fresh database; rounds alternate; the figures are medians.
"""

import asyncio
import secrets
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import psycopg
from _measuring import command_line, conclude, machine, postgres, show
from psycopg import sql as identifiers
from psycopg.conninfo import make_conninfo

from infrastructure.postgres.migrations import migrate

HERE = Path(__file__).parent
STATED_RATE = 20.0
WARM_UP_SECONDS = 2.0
_EVENT = struct.Struct("=IId")


class Load(NamedTuple):
    runs: int
    clients: int
    seconds: float


class Latency(NamedTuple):
    """Milliseconds, and frames that were measured."""

    median: float
    p99: float
    frames: int


class Part:
    """A process that answers lines with lines."""

    def __init__(self, program: str, *arguments: object) -> None:
        self._process = subprocess.Popen(
            [sys.executable, HERE / program, *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self._process.args!r} died")
        return line.strip()

    def tell(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(60)
        self._process.stdout.close()


@contextmanager
def part(program: str, *arguments: object) -> Iterator[Part]:
    started = Part(program, *arguments)
    try:
        yield started
    finally:
        started.close()


class Bench:
    def __init__(self, dsn: str, folder: Path, load: Load) -> None:
        self._dsn, self._load = dsn, load
        self._produced, self._arrived = folder / "produced", folder / "arrived"

    def baseline(self, rate: float, *, in_detail: bool) -> float:
        """Frames per second. `rate` in events per second of each run, 0 for throttle open."""
        with part("_fanout_server.py", self._load.runs, rate, self._produced if in_detail else "-") as server:
            port = server.line()
            with self._clients(port, in_detail=in_detail) as clients:
                server.tell()
                measured = self._measure(clients)
                server.tell()
                server.line()
        return measured

    def ours(self, rate: float, *, in_detail: bool) -> float:
        with self._database() as dsn, part("_stream_server.py", dsn) as server:
            port = server.line()
            produced = self._produced if in_detail else "-"
            with part("_stream_producer.py", dsn, self._load.runs, rate, produced) as producer:
                producer.line()
                with self._clients(port, in_detail=in_detail) as clients:
                    producer.tell()
                    measured = self._measure(clients)
                    producer.tell()
                    producer.line()
        return measured

    def latency(self) -> Latency:
        """Of the last detailed measurement."""
        produced = {(run, seq): at for run, seq, at in _EVENT.iter_unpack(self._produced.read_bytes())}
        late = [
            (at - produced[run, seq]) * 1000
            for run, seq, at in _EVENT.iter_unpack(self._arrived.read_bytes())
            if (run, seq) in produced
        ]
        late.sort()
        return Latency(late[len(late) // 2], late[int(len(late) * 0.99)], len(late))

    def _measure(self, clients: Part) -> float:
        time.sleep(WARM_UP_SECONDS)
        clients.tell()
        clients.line()
        time.sleep(self._load.seconds)
        clients.tell()
        frames, seconds = clients.line().split()
        return int(frames) / float(seconds)

    @contextmanager
    def _clients(self, port: str, *, in_detail: bool) -> Iterator[Part]:
        arrived = self._arrived if in_detail else "-"
        with part("_stream_clients.py", port, self._load.runs, self._load.clients, arrived) as clients:
            clients.line()
            yield clients

    @contextmanager
    def _database(self) -> Iterator[str]:
        name = f"bench_{secrets.token_hex(4)}"
        with psycopg.connect(self._dsn, autocommit=True) as connection:
            connection.execute(identifiers.SQL("CREATE DATABASE {}").format(identifiers.Identifier(name)))
            dsn = make_conninfo(self._dsn, dbname=name)
            asyncio.run(migrate(dsn))
            yield dsn
            connection.execute(identifiers.SQL("DROP DATABASE {} WITH (FORCE)").format(identifiers.Identifier(name)))


def bench(dsn: str, folder: Path, load: Load, rounds: int, host: dict[str, Any]) -> dict[str, Any]:
    parts = Bench(dsn, folder, load)
    open_baseline: list[float] = []
    open_ours: list[float] = []
    late_baseline: list[Latency] = []
    late_ours: list[Latency] = []
    for _ in range(rounds):
        open_baseline.append(parts.baseline(0, in_detail=False))
        open_ours.append(parts.ours(0, in_detail=False))
    half = statistics.median(open_baseline) / 2 / load.clients
    rate = min(STATED_RATE, half)
    for _ in range(rounds):
        parts.baseline(rate, in_detail=True)
        late_baseline.append(parts.latency())
        parts.ours(rate, in_detail=True)
        late_ours.append(parts.latency())
    return report(load, rate, (open_baseline, open_ours), (late_baseline, late_ours), host)


def report(
    load: Load,
    rate: float,
    rates: tuple[list[float], list[float]],
    late: tuple[list[Latency], list[Latency]],
    host: dict[str, Any],
) -> dict[str, Any]:
    baseline, ours = (statistics.median(side) for side in rates)
    p99_baseline, p99_ours = (statistics.median([latency.p99 for latency in side]) for side in late)
    medians = [statistics.median([latency.median for latency in side]) for side in late]
    rows = [
        (
            "throttle open, frames/s", f"{baseline:,.0f}", f"{ours:,.0f}", f"{ours / baseline:.2f}x",
            " ".join(f"{b:,.0f}:{o:,.0f}" for b, o in zip(*rates, strict=True)),
        ),
        (
            f"{rate:.1f} events/s each, p99 ms", f"{p99_baseline:.1f}", f"{p99_ours:.1f}",
            f"{p99_ours / p99_baseline:.2f}x",
            " ".join(f"{b.p99:.1f}:{o.p99:.1f}" for b, o in zip(*late, strict=True)),
        ),
        ("median ms", f"{medians[0]:.1f}", f"{medians[1]:.1f}", f"{medians[1] / medians[0]:.2f}x", ""),
    ]  # fmt: skip
    title = f"sse: {load.clients:,} clients on {load.runs} runs, medians of {len(rates[0])} rounds"
    show(title, ("", "bare uvicorn", "through the database", "ratio", "rounds"), rows, host)
    return {
        "bench": "sse",
        "rounds": len(rates[0]),
        "ours": round(ours),
        "baseline": round(baseline),
        "ratio": round(ours / baseline, 2),
        "events_per_second_and_run": round(rate, 1),
        "p99_ms_ours": round(p99_ours, 2),
        "p99_ms_baseline": round(p99_baseline, 2),
        "ratio_p99": round(p99_ours / p99_baseline, 2),
        "machine": host,
    }


def main() -> None:
    parser = command_line("sse", __doc__, rounds=3)
    parser.add_argument("--seconds", type=float, default=5.0, help="per measurement")
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--clients", type=int, default=1000)
    arguments = parser.parse_args()
    load = Load(arguments.runs, arguments.clients, arguments.seconds)
    with postgres() as server, tempfile.TemporaryDirectory(prefix="fleetlog-bench-") as folder:
        result = bench(server.dsn, Path(folder), load, arguments.rounds, machine(server))
    conclude(result, as_json=arguments.json)


if __name__ == "__main__":
    main()
