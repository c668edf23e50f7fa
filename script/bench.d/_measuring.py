"""What the benchmarks share: the command line, a Postgres server of their own, the table, and the machine.

The shape of a result: `bench`, `rounds`, `ours` and `baseline` (medians, in the benchmark's unit), `ratio` (ours
against the baseline), more figures of the benchmark's own, and `machine`.
"""

import argparse
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import msgspec
import psycopg
from psycopg.conninfo import conninfo_to_dict
from rich.console import Console
from rich.table import Table

from tests.support.debian_postgres import PROGRAM
from tests.support.servers import PostgresServer, running_postgres

WIDTH = 110
EMBEDDED, DEBIAN = "18", "15"
_chosen = [EMBEDDED]
"""The Postgres that this process's command line names."""


class CommandLine(argparse.ArgumentParser):
    """A benchmark's options: `--json`, `--rounds` and `--toy`, which every benchmark has, and its own.

    What determines how long the benchmark takes is a size or a choice of parts. Each has a default and a much smaller
    toy value, which `--toy` makes the default. A value given on the command line is used in any case.
    """

    def __init__(self, bench: str, about: str | None, *, rounds: int) -> None:
        super().__init__(
            prog=f"script/bench {bench}", description=about, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        self._toy_sizes: dict[str, float] = {}
        self._toy_choices: dict[str, list[str]] = {}
        self.add_argument("--json", action="store_true", help="print one JSON object on the last line")
        self.add_argument(
            "--toy", action="store_true", help="run at the smallest sizes: shows that it works, not how fast"
        )
        self.add_argument(
            "--postgres",
            choices=(EMBEDDED, DEBIAN),
            default=EMBEDDED,
            help="the embedded Postgres 18 (the default), or Debian's 15 with its settings (script/test-programs)",
        )
        self.add_size("--rounds", rounds, toy=1)

    def add_size(self, option: str, default: float, *, toy: float, about: str = "") -> None:
        """An option whose value is a positive number of the default's type."""
        values = f"default: {default:,}, with --toy: {toy:,}"
        self.add_argument(
            option, type=type(default), default=default, metavar="N", help=f"{about} ({values})" if about else values
        )
        self._toy_sizes[option.removeprefix("--").replace("-", "_")] = toy

    def add_choice(self, option: str, choices: Sequence[str], *, toy: Sequence[str]) -> None:
        """An option whose value is one or more of `choices`; all of them by default."""
        values = f"default: all, with --toy: {' '.join(toy)}"
        self.add_argument(option, nargs="+", choices=choices, default=list(choices), help=values)
        self._toy_choices[option.removeprefix("--").replace("-", "_")] = list(toy)

    def parse(self) -> argparse.Namespace:
        """The options of this process's command line; exits with a usage message where they are wrong."""
        options = self.parse_args()
        if options.toy:
            self.set_defaults(**self._toy_sizes, **self._toy_choices)
            options = self.parse_args()
        for name in self._toy_sizes:
            if (value := getattr(options, name)) <= 0:
                self.error(f"--{name.replace('_', '-')} is {value}; give a number greater than 0")
        _chosen[:] = [options.postgres]
        return options


def unavailable(reason: str) -> NoReturn:
    """Exit with code 69 (EX_UNAVAILABLE): this machine lacks something that the benchmark needs."""
    print(f"script/bench: {reason}", file=sys.stderr)
    sys.exit(os.EX_UNAVAILABLE)


def on_debian() -> bool:
    """Whether the command line asks for Debian's Postgres."""
    return _chosen == [DEBIAN]


@contextmanager
def postgres() -> Iterator[PostgresServer]:
    """The embedded Postgres, as `fleetlog up` starts it, or Debian's, on a folder that is removed at the end."""
    if on_debian() and not PROGRAM.exists():
        unavailable(f"there is no {PROGRAM}; script/test-programs installs it")
    with (
        tempfile.TemporaryDirectory(prefix="fleetlog-bench-") as home,
        running_postgres(Path(home), debian=on_debian()) as server,
    ):
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
    """The machine that the figures depend on; with a server, also its version and the disk's fsync time."""
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
    """Print a table, and the machine below it."""
    table = Table(title=title)
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left")
    for row in rows:
        table.add_row(*row)
    console = Console(width=WIDTH)
    console.print(table)
    console.print(", ".join(f"{name} {value}" for name, value in host.items()))


def conclude(result: dict[str, Any], *, as_json: bool) -> None:
    """With `--json`, print the result as the last line."""
    if as_json:
        print(msgspec.json.encode(result).decode())
