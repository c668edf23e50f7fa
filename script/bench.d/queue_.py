"""Runs through queue, claim, record and finish, per second: Fleetlog with its executor stubbed out at the port, against
no-op jobs of procrastinate.

Each side is one process with 16 at a time, on its own database of the same server; time runs from the first that is
queued to the last that has ended. Ours writes its whole log (fifteen events a run, hash chain and indexes), runs its
process managers, folds its read models and indexes every event's words. Measured are the time until every run has
finished (as jobs have), and the time until all of that has been processed, whose ratio is the result.

Then runs are queued evenly at half the measured rate, to see how long a claimed run takes to its agent's start.
"""

import hashlib
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import msgspec
from _measuring import CommandLine, conclude, machine, postgres, show, unavailable
from _queue_ours import Measured

FOLDER = Path(__file__).resolve().parent
BASELINE = ("procrastinate==3.10.0", "asgiref", "attrs", "croniter", "python-dateutil", "pytz", "six")
CONCURRENCY = 16


def installed_baseline() -> Path:
    """A folder with procrastinate, installed by the first call in this checkout; not in our own environment, whose
    psycopg it shares."""
    version = hashlib.sha256(" ".join([sys.version, *BASELINE]).encode()).hexdigest()[:12]
    installed = FOLDER.parents[1] / "build" / f"queue-baseline-{version}"
    if installed.is_dir():
        return installed
    installed.parent.mkdir(exist_ok=True)
    being_filled = Path(tempfile.mkdtemp(prefix=f"{installed.name}-", dir=installed.parent))
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--disable-pip-version-check", "--target"]
    done = subprocess.run([*pip, being_filled, *BASELINE], check=False, timeout=300)
    if done.returncode == 0 and not installed.is_dir():
        being_filled.rename(installed)
    else:
        shutil.rmtree(being_filled)
    if not installed.is_dir():
        unavailable(f"pip could not install the baseline ({' '.join(BASELINE)}); see its message above")
    return installed


def measured(script: str, dsn: str, number: int, *more: str, path: Path = FOLDER.parents[1]) -> str:
    command = [sys.executable, str(FOLDER / script), dsn, str(number), str(CONCURRENCY), *more]
    environment = {"PYTHONPATH": str(path), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, timeout=600, env=environment)
    return done.stdout


def p99(values: list[float]) -> float:
    return sorted(values)[int(len(values) * 0.99)]


def main() -> None:
    parser = CommandLine("queue", __doc__, rounds=3)
    parser.add_size("--runs", 2000, toy=20)
    arguments = parser.parse()
    runs = arguments.runs
    ours: list[float] = []
    finished: list[float] = []
    baseline: list[float] = []
    library = installed_baseline()
    with postgres() as server:
        host = machine(server)
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
