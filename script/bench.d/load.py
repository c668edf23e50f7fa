"""A command on a run of 10,000 events, against the eventsourcing library's repository without snapshots.

The command records one event of the agent: load, decide, append, until the commit is acknowledged. All sides have the
same number of events with the same text, and the same Postgres with fsync and synchronous_commit on. Cold is the first
command of a new process whose connections are open; warm are the ones that follow. Without snapshots and cache, the
library reads the run each time. The ratios are against its aggregate, mapper and application as its documentation
shows them; another row has its repository with our payloads and our fold. Rounds alternate; the figures are medians.
"""

import asyncio
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from _load_history import write_ours
from _load_library import BASELINES
from _measuring import CommandLine, conclude, machine, postgres, show

from infrastructure.postgres.migrations import migrate

PROCESS = Path(__file__).with_name("_load_process.py")
SMALL = 10


class Variant(NamedTuple):
    """A row of the table: the side, how many events its run has, how many commands each process sends."""

    side: str
    events: int
    commands: int


class Times(NamedTuple):
    """Milliseconds of one round: the first command, and the median of those that followed."""

    cold: float
    warm: float


def variants(events: int) -> dict[str, Variant]:
    """By their names in the table: first the baseline, then ours on the same run and on a small one."""
    return {
        "library": Variant("library", events, 6),
        "fleetlog": Variant("ours", events, 60),
        "fleetlog, a small run": Variant("ours", SMALL, 60),
        "library, our fold": Variant("library-with-our-fold", events, 6),
        "fleetlog, no snapshots": Variant("ours-without-snapshots", events, 60),
    }


def run_of(variant: Variant, number: int) -> str:
    """The id of the run for a round: big ones are used in every round, small ones once, so that they stay small."""
    return f"{variant.side}-{variant.events}" if variant.events > SMALL else f"{variant.side}-small-{number}"


def measured(dsn: str, variant: Variant, number: int) -> Times:
    command = [sys.executable, str(PROCESS), variant.side, dsn, run_of(variant, number), str(variant.commands)]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, timeout=120).stdout
    cold, *warm = msgspec.json.decode(output, type=list[float])
    return Times(cold, statistics.median(warm))


def write(dsns: dict[str, str], all_variants: dict[str, Variant], rounds: int) -> None:
    """Write the runs of all variants."""
    ours: dict[str, int] = {}
    for variant in all_variants.values():
        if variant.side in BASELINES:
            library = BASELINES[variant.side](dsns[variant.side])
            library.write(run_of(variant, 0), variant.events)
            library.close()
        else:
            ours |= {run_of(variant, number): variant.events for number in range(rounds)}
    asyncio.run(write_ours(dsns["ours"], ours))


def run(events: int, rounds: int) -> dict[str, Any]:
    with postgres() as server:
        host = machine(server)
        all_variants = variants(events)
        dsns = {side: server.create_database() for side in ("ours", *BASELINES)}
        asyncio.run(migrate(dsns["ours"]))
        write(dsns, all_variants, rounds)
        results: dict[str, list[Times]] = {name: [] for name in all_variants}
        for number in range(rounds):
            for name, variant in all_variants.items():
                results[name].append(measured(dsns.get(variant.side, dsns["ours"]), variant, number))
    return report(results, all_variants, host)


def report(results: dict[str, list[Times]], all_variants: dict[str, Variant], host: dict[str, Any]) -> dict[str, Any]:
    medians = {
        name: Times(statistics.median(each.cold for each in times), statistics.median(each.warm for each in times))
        for name, times in results.items()
    }
    library, ours, small, our_fold, full = medians.values()
    rounds = len(results["library"])
    rows = [
        (
            name,
            f"{all_variants[name].events:,}",
            f"{median.cold:.2f}",
            f"{library.cold / median.cold:.1f}x",
            f"{median.warm:.2f}",
            f"{library.warm / median.warm:.1f}x",
            " ".join(f"{each.cold:,.0f}" for each in results[name]),
        )
        for name, median in medians.items()
    ]
    show(
        f"load: one command on a run, medians of {rounds} rounds",
        ("variant", "events", "cold ms", "ratio", "warm ms", "ratio", "cold, each round"),
        rows,
        host,
    )
    ratio_cold, ratio_warm = library.cold / ours.cold, library.warm / ours.warm
    return {
        "bench": "load",
        "rounds": rounds,
        "ours": round(ours.cold, 3),
        "baseline": round(library.cold, 3),
        "ratio": round(ratio_cold, 2),
        "ratio_cold": round(ratio_cold, 2),
        "ratio_warm": round(ratio_warm, 2),
        "unit": "ms, cold",
        "events": all_variants["fleetlog"].events,
        "ours_warm": round(ours.warm, 3),
        "baseline_warm": round(library.warm, 3),
        "ratio_cold_our_fold": round(our_fold.cold / ours.cold, 2),
        "ratio_warm_our_fold": round(our_fold.warm / ours.warm, 2),
        "cold_without_snapshots": round(full.cold, 3),
        "small_run_cold": round(small.cold, 3),
        "small_run_warm": round(small.warm, 3),
        "machine": host,
    }


def main() -> None:
    parser = CommandLine("load", __doc__, rounds=7)
    parser.add_size("--events", 10_000, toy=300)
    arguments = parser.parse()
    conclude(run(arguments.events, arguments.rounds), as_json=arguments.json)


if __name__ == "__main__":
    main()
