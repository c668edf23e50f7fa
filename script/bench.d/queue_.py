"""Runs through queue, claim, record and finish, per second: Fleetlog with its executor stubbed out at the port, against
no-op jobs of procrastinate.

Each side is one process with 16 at a time, on a database of its own of the same server; the clock runs from the first
that is queued to the last that has ended. Ours writes its whole log (fifteen events a run, hash chain and indexes),
moves its process managers, folds its read models, indexes every event's words; it is told when every run has finished
(as jobs have), and when all of that has followed, which is the ratio that counts.
Half the rate so measured is then queued at an even pace, to see how long a claimed run takes to its agent's start.
"""

import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import msgspec
from _measuring import command_line, conclude, machine, postgres, show
from _queue_ours import Measured

FOLDER = Path(__file__).resolve().parent
BASELINE = ("procrastinate==3.10.0", "asgiref", "attrs", "croniter", "python-dateutil", "pytz", "six")
CONCURRENCY = 16


def installed_baseline(folder: str) -> None:
    """Procrastinate beside our own environment, never in it; it shares our psycopg."""
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--disable-pip-version-check", "--target"]
    subprocess.run([*pip, folder, *BASELINE], check=True, timeout=300)


def measured(script: str, dsn: str, number: int, *more: str, path: str = "") -> str:
    command = [sys.executable, str(FOLDER / script), dsn, str(number), str(CONCURRENCY), *more]
    environment = {"PYTHONPATH": path or str(FOLDER.parents[1]), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=600, env=environment)
    return done.stdout


def p99(values: list[float]) -> float:
    return sorted(values)[int(len(values) * 0.99)]


def main() -> None:
    parser = command_line("queue", __doc__, rounds=3)
    parser.add_argument("--runs", type=int, default=2000)
    arguments = parser.parse_args()
    runs = arguments.runs
    ours: list[float] = []
    finished: list[float] = []
    baseline: list[float] = []
    with postgres() as server, tempfile.TemporaryDirectory() as library:
        host = machine(server)
        installed_baseline(library)
        for _ in range(arguments.rounds):
            seconds = float(measured("_queue_baseline.py", server.create_database(), runs, path=library))
            baseline.append(runs / seconds)
            whole = msgspec.json.decode(measured("_queue_ours.py", server.create_database(), runs, "0"), type=Measured)
            ours.append(runs / whole.seconds)
            finished.append(runs / whole.finished)
        rate = statistics.median(ours)
        half = measured("_queue_ours.py", server.create_database(), runs // 2, str(rate / 2))
    starts = p99(list(msgspec.json.decode(half, type=Measured).starts))
    ratio = rate / statistics.median(baseline)
    ratio_finished = statistics.median(finished) / statistics.median(baseline)
    show(
        f"queue: runs and jobs per second, {CONCURRENCY} at a time, medians of {arguments.rounds} rounds",
        ("side", "per second", "ratio", "rounds"),
        (
            ("procrastinate", f"{statistics.median(baseline):,.0f}", "", " ".join(f"{one:,.0f}" for one in baseline)),
            (
                "fleetlog, all finished",
                f"{statistics.median(finished):,.0f}",
                f"{ratio_finished:.2f}x",
                " ".join(f"{one:,.0f}" for one in finished),
            ),
            ("and all of it readable", f"{rate:,.0f}", f"{ratio:.2f}x", " ".join(f"{one:,.0f}" for one in ours)),
            ("claim to start, p99 at half load", f"{starts:,.0f} ms", "", ""),
        ),
        host,
    )
    result = {
        "bench": "queue",
        "rounds": arguments.rounds,
        "ours": round(rate, 1),
        "baseline": round(statistics.median(baseline), 1),
        "ratio": round(ratio, 2),
        "finished": round(statistics.median(finished), 1),
        "ratio_finished": round(ratio_finished, 2),
        "claim_to_start_p99_ms": round(starts, 1),
        "machine": host,
    }
    conclude(result, as_json=arguments.json)


if __name__ == "__main__":
    main()
