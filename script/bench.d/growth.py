"""What a log of ten million events costs, against one of ten thousand: appends, loads, claims, pages, starts; bytes.

Each log is made by Fleetlog's own append, with read models, search index, effects and queue of all its events. The
sizes take turns; the figures are medians of all tries. `list page`: the first of all runs; `stream open`: to the first
byte of a run's stream; `timeline page`: the first of a run's events; both of a run anywhere in the log. `up to ready`:
from the start of `fleetlog up`, with a database that is there, until it says that it is ready.
"""

import itertools
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(Path(__file__).resolve().parent))

import msgspec
import uvloop
from _growth_log import Written
from _growth_measures import Times, with_server, without_server
from _measuring import CommandLine, conclude, machine, postgres, show

PROGRAM = Path(__file__).with_name("_growth_log.py")
SIZES, TOY_SIZES = (10_000, 1_000_000, 10_000_000), (400, 800)
ALLOWED_RATIO = 1.3


def made(dsn: str, events: int) -> Written:
    done = subprocess.run(
        [sys.executable, str(PROGRAM), dsn, str(events)], check=True, stdout=subprocess.PIPE, text=True
    )
    return msgspec.json.decode(done.stdout, type=Written)


def run(sizes: list[int], rounds: int, tries: int) -> dict[str, Any]:
    with postgres() as server:
        host = machine(server)
        logs: dict[str, Written] = {}
        for events in sizes:
            dsn = server.create_database()
            logs[dsn] = made(dsn, events)
            print(f"made {logs[dsn].last:,} events", file=sys.stderr)
        found: dict[str, list[Times]] = {dsn: [] for dsn in logs}
        for number in range(rounds):
            for dsn, log in logs.items():
                alone = uvloop.run(without_server(dsn, log, tries, number))
                found[dsn].append(alone | with_server(dsn, log, tries, number))
    return report(list(logs.values()), [medians(rounds_of) for rounds_of in found.values()], rounds, host)


def medians(rounds: list[Times]) -> dict[str, float]:
    return {
        name: statistics.median(itertools.chain.from_iterable(times[name] for times in rounds)) for name in rounds[0]
    }


def report(logs: list[Written], found: list[dict[str, float]], rounds: int, host: dict[str, Any]) -> dict[str, Any]:
    smallest, largest = found[0], found[-1]
    ratios = {name: largest[name] / smallest[name] for name in smallest}
    bytes_each = [log.bytes / log.last for log in logs]
    rows = [
        (
            f"{name}, ms",
            *(f"{each[name]:.2f}" for each in found),
            f"{ratio:.2f}x",
            "missed" if ratio > ALLOWED_RATIO else "",
        )
        for name, ratio in ratios.items()
    ]
    show(
        f"growth: medians of {rounds} rounds; the ratio is the largest log's to the smallest's",
        ("", *(f"{log.last:,} events" for log in logs), "ratio", f"allowed: {ALLOWED_RATIO}x"),
        [*rows, ("bytes per event on disk", *(f"{each:,.0f}" for each in bytes_each), "", "")],
        host,
    )
    worst = max(ratios, key=lambda name: ratios[name])
    return {
        "bench": "growth",
        "rounds": rounds,
        "ours": round(largest[worst], 3),
        "baseline": round(smallest[worst], 3),
        "ratio": round(ratios[worst], 2),
        "unit": f"ms, {worst}",
        **{f"ratio_{name.replace(' ', '_')}": round(ratio, 3) for name, ratio in ratios.items()},
        "events": [log.last for log in logs],
        "ms": {name: [round(each[name], 3) for each in found] for name in ratios},
        "bytes_per_event": [round(each) for each in bytes_each],
        "machine": host,
    }


def main() -> None:
    parser = CommandLine("growth", __doc__, rounds=5)
    parser.add_argument(
        "--sizes",
        type=int,
        nargs="+",
        metavar="N",
        help=f"events of each log, the smallest first (default: {' '.join(map(str, SIZES))}, with --toy: "
        f"{' '.join(map(str, TOY_SIZES))})",
    )
    parser.add_size("--tries", 200, toy=3, about="of each figure in a round, but of starts")
    options = parser.parse()
    sizes = options.sizes or list(TOY_SIZES if options.toy else SIZES)
    if min(sizes) <= 0:
        parser.error(f"--sizes has {min(sizes)}; give numbers greater than 0")
    conclude(run(sorted(sizes), options.rounds, options.tries), as_json=options.json)


if __name__ == "__main__":
    main()
