"""Live fan-out: 1,000 SSE clients on 100 runs, every event through the database, against bare uvicorn without one.

Unthrottled: both produce as fast as they can; the figure is frames per second over all clients. Under load (20 events
a second in each run, or half of the baseline's unthrottled rate if that is lower): the 99th percentile of the time
from the commit's acknowledgement to the client, against the time from the call that produces the event. Server,
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
from _measuring import CommandLine, conclude, machine, postgres, show
from psycopg import sql as identifiers
from psycopg.conninfo import make_conninfo

from infrastructure.postgres.migrations import migrate

HERE = Path(__file__).parent
STATED_RATE = 20.0
_EVENT = struct.Struct("=IId")


class Load(NamedTuple):
    """`seconds` of one measurement, after `warm_up` seconds under the same load."""

    runs: int
    clients: int
    seconds: float
    warm_up: float


class Latency(NamedTuple):
    """`median` and `p99` in milliseconds, and the number of frames measured."""

    median: float
    p99: float
    frames: int


class LineProcess:
    """A subprocess that takes and prints lines."""

    def __init__(self, program: str, *arguments: object) -> None:
        self._process = subprocess.Popen(
            [sys.executable, HERE / program, *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def read_line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self._process.args!r} died")
        return line.strip()

    def send_line(self) -> None:
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
def line_process(program: str, *arguments: object) -> Iterator[LineProcess]:
    started = LineProcess(program, *arguments)
    try:
        yield started
    finally:
        started.close()


class Bench:
    def __init__(self, dsn: str, folder: Path, load: Load) -> None:
        self._dsn, self._load = dsn, load
        self._produced, self._arrived = folder / "produced", folder / "arrived"

    def baseline(self, rate: float, *, in_detail: bool) -> float:
        """Frames per second. `rate`: events per second of each run, 0 for unthrottled."""
        with line_process("_fanout_server.py", self._load.runs, rate, self._produced if in_detail else "-") as server:
            port = server.read_line()
            with self._clients(port, in_detail=in_detail) as clients:
                server.send_line()
                measured = self._measure(clients)
                server.send_line()
                server.read_line()
        return measured

    def ours(self, rate: float, *, in_detail: bool, observed: str = "none") -> float:
        """As `baseline`. `observed`: what the server observes, one of MODES in _observing.py."""
        with self._database() as dsn, line_process("_stream_server.py", dsn, observed) as server:
            port = server.read_line()
            produced = self._produced if in_detail else "-"
            with line_process("_stream_producer.py", dsn, self._load.runs, rate, produced) as producer:
                producer.read_line()
                with self._clients(port, in_detail=in_detail) as clients:
                    producer.send_line()
                    measured = self._measure(clients)
                    producer.send_line()
                    producer.read_line()
        return measured

    def latency(self) -> Latency:
        """The latency in the last measurement with `in_detail`."""
        produced = {(run, seq): at for run, seq, at in _EVENT.iter_unpack(self._produced.read_bytes())}
        late = [
            (at - produced[run, seq]) * 1000
            for run, seq, at in _EVENT.iter_unpack(self._arrived.read_bytes())
            if (run, seq) in produced
        ]
        late.sort()
        return Latency(late[len(late) // 2], late[int(len(late) * 0.99)], len(late))

    def _measure(self, clients: LineProcess) -> float:
        time.sleep(self._load.warm_up)
        clients.send_line()
        clients.read_line()
        time.sleep(self._load.seconds)
        clients.send_line()
        frames, seconds = clients.read_line().split()
        return int(frames) / float(seconds)

    @contextmanager
    def _clients(self, port: str, *, in_detail: bool) -> Iterator[LineProcess]:
        arrived = self._arrived if in_detail else "-"
        with line_process("_stream_clients.py", port, self._load.runs, self._load.clients, arrived) as clients:
            clients.read_line()
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
    parser = CommandLine("sse", __doc__, rounds=3)
    parser.add_size("--seconds", 5.0, toy=1.0, about="per measurement")
    parser.add_size("--warm-up", 2.0, toy=0.1, about="seconds before each measurement")
    parser.add_size("--runs", 100, toy=2)
    parser.add_size("--clients", 1000, toy=4)
    arguments = parser.parse()
    load = Load(arguments.runs, arguments.clients, arguments.seconds, arguments.warm_up)
    with postgres() as server, tempfile.TemporaryDirectory(prefix="fleetlog-bench-") as folder:
        result = bench(server.dsn, Path(folder), load, arguments.rounds, machine(server))
    conclude(result, as_json=arguments.json)


if __name__ == "__main__":
    main()
