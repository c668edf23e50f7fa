"""What the benchmarks share: the command line, a Postgres of their own, the table, and the machine.

The shape of a result: `bench`, `rounds`, `ours` and `baseline` (medians, in the benchmark's unit), `ratio` (how many
times better ours is), what else the benchmark tells, and `machine`.
"""

import argparse
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import psycopg
from psycopg.conninfo import conninfo_to_dict
from rich.console import Console
from rich.table import Table

from tests.support.servers import PostgresServer, running_postgres

WIDTH = 110


def command_line(bench: str, about: str | None, *, rounds: int) -> argparse.ArgumentParser:
    """The options that every benchmark has; `rounds` is the default."""
    parser = argparse.ArgumentParser(
        prog=f"script/bench {bench}", description=about, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="one JSON object on the last line")
    parser.add_argument("--rounds", type=int, default=rounds)
    return parser


@contextmanager
def postgres() -> Iterator[PostgresServer]:
    """The embedded Postgres, as `fleetlog up` starts it, on a folder that is removed at the end."""
    with tempfile.TemporaryDirectory(prefix="fleetlog-bench-") as home, running_postgres(Path(home)) as server:
        yield server


def library_environment(dsn: str, id_type: str = "text") -> dict[str, str]:
    """The `eventsourcing` library's settings for its own tables in this database; `id_type` is `text` or `uuid`."""
    part = conninfo_to_dict(dsn)
    return {
        "PERSISTENCE_MODULE": "eventsourcing.postgres",
        "POSTGRES_DBNAME": str(part["dbname"]),
        "POSTGRES_HOST": str(part["host"]),
        "POSTGRES_PORT": str(part.get("port", "")),
        "POSTGRES_USER": str(part["user"]),
        "POSTGRES_PASSWORD": str(part["password"]),
        "ORIGINATOR_ID_TYPE": id_type,
    }


def machine(server: PostgresServer | None = None) -> dict[str, Any]:
    """What the figures depend on; with a server, its version and the disk's fsync time too."""
    models = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line]
    about: dict[str, Any] = {
        "cpus": os.cpu_count(),
        "model": models[0].split(":", 1)[1].strip() if models else platform.machine(),
        "load_before": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
    }
    if server is not None:
        with psycopg.connect(server.dsn) as connection:
            row = connection.execute("SHOW server_version").fetchone()
        assert row is not None
        about |= {"postgres": row[0], "fsync_us": round(fsync_microseconds(), 1)}
    return about


def fsync_microseconds() -> float:
    """The median time of an 8 kB write with fdatasync, where the benchmarks' servers keep their data."""
    block, times = b"x" * 8192, []
    with tempfile.TemporaryFile(prefix="fleetlog-bench-", buffering=0) as file:
        for _ in range(300):
            file.seek(0)
            file.write(block)
            began = time.perf_counter()
            os.fdatasync(file.fileno())
            times.append(time.perf_counter() - began)
    return statistics.median(times) * 1e6


def show(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], host: dict[str, Any]) -> None:
    """A table, its first column to the left, and the machine below."""
    table = Table(title=title)
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left")
    for row in rows:
        table.add_row(*row)
    console = Console(width=WIDTH)
    console.print(table)
    console.print(", ".join(f"{name} {value}" for name, value in host.items()))


def conclude(result: dict[str, Any], *, as_json: bool) -> None:
    """The last line, for programs."""
    if as_json:
        print(msgspec.json.encode(result).decode())
