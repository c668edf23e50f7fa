"""An agent's first delta and its memory through an executor, against the bare CLI driven by a 30-line script.

Cold start: from `POST /provider-runs/start` to the first `message.delta` in the run's stream, against the start of the
bare CLI to its first delta, in turn, both with the same scripted model; medians of the rounds. Memory: the peak of the
CLI's own process at that moment. Then 8 runs stream at once through a whole `fleetlog up`: how long a delta takes from
the model's sending it (so the CLI's own time is in it) to an SSE client. Needs the CLIs of script/agent-clis.
"""

import json
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from _bare_clis import DRIVERS, PROMPT
from _measuring import command_line, conclude, machine, show

from tests.e2e.providers.agents import settings_of_all
from tests.e2e.providers.dialects import DIALECTS, SECRET, Dialect
from tests.integration.executor.worker import Worker
from tests.support.agent_clis import installed_clis
from tests.support.fleetlog_server import FleetlogServer
from tests.support.model_server import Gate, ModelServer, Text
from tests.support.servers import ObjectStoreServer, running_object_store

RUNS_AT_ONCE = 8
DELTAS = 100
ALLOWED_SHARE, ALLOWED_MS = 0.15, 100.0


def peak_mb(pid: int) -> float:
    """The peak memory of one process."""
    status = Path(f"/proc/{pid}/status").read_text().splitlines()
    kilobytes = next(line for line in status if line.startswith("VmHWM")).split()[1]
    return int(kilobytes) / 1000


def bare(dialect: Dialect, models: ModelServer, clis: Path, folder: Path) -> tuple[float, float]:
    """Seconds and MB of the bare CLI; its home is kept from round to round, as the executor's is."""
    gate, peaks = Gate(), list[float]()

    def seen(pid: int) -> None:
        peaks.append(peak_mb(pid))
        gate.open()

    model = models.script(Text("one two three four", gate=gate))
    took = DRIVERS[dialect.name](clis, folder, models.url, model, SECRET, seen)
    return took, peaks[0]


def through_executor(dialect: Dialect, models: ModelServer, worker: Worker) -> tuple[float, float]:
    """Seconds and MB of the same CLI as a run of an executor that is up."""
    gate = Gate()
    model = models.script(Text("one two three four", gate=gate))
    spec = {
        "provider": dialect.name,
        "model": model,
        "messages": [{"role": "user", "content": PROMPT}],
        "providerOptions": {},
        "executionProfile": dialect.free_profile,
    }
    began = time.perf_counter()
    answer = worker.try_start("", spec=spec)
    assert answer.status_code == 200, answer.text
    took = peak = 0.0
    with worker.following() as entries:
        for entry in entries:
            if entry["type"] == "message.delta" and not took:
                took = time.perf_counter() - began
                peak = max(peak_mb(pid) for pid in _working_in(worker.workspace))
                gate.open()
    assert took, worker.log()
    return took, peak


def _working_in(folder: Path) -> list[int]:
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if (entry / "cwd").readlink() == folder:
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def cold_start(
    dialect: Dialect, models: ModelServer, store: ObjectStoreServer, clis: Path, rounds: int
) -> dict[str, Any]:
    """Milliseconds and MB of both, in turn."""
    access = store.create_bucket_access()
    location = SimpleNamespace(
        endpoint=access.endpoint,
        bucket=access.bucket,
        access_key=access.access_key_id,
        secret_key=access.secret_access_key,
    )
    ours, theirs = list[tuple[float, float]](), list[tuple[float, float]]()
    with tempfile.TemporaryDirectory(prefix="fleetlog-bench-") as folder:
        worker, home = Worker(Path(folder) / "w", location), Path(folder) / "bare"
        home.mkdir()
        path = f"{clis}:/usr/local/bin:/usr/bin:/bin"
        worker.start(**{**dialect.variables(models.url), "PATH": path})
        try:
            worker.restore()
            for _ in range(rounds + 1):
                theirs.append(bare(dialect, models, clis, home))
                ours.append(through_executor(dialect, models, worker))
        finally:
            worker.end()
    ours_ms, bare_ms = (statistics.median(took for took, _ in runs[1:]) * 1000 for runs in (ours, theirs))
    ours_mb, bare_mb = (statistics.median(peak for _, peak in runs[1:]) for runs in (ours, theirs))
    allowed = max(ALLOWED_SHARE * bare_ms, ALLOWED_MS)
    return {
        "provider": dialect.name,
        "ours_ms": round(ours_ms, 1),
        "bare_ms": round(bare_ms, 1),
        "overhead_ms": round(ours_ms - bare_ms, 1),
        "allowed_ms": round(allowed, 1),
        "within": ours_ms - bare_ms <= allowed,
        "ours_mb": round(ours_mb),
        "bare_mb": round(bare_mb),
    }


def delays(dialect: Dialect, models: ModelServer) -> dict[str, Any]:
    """Milliseconds from the model's sending of a delta to an SSE client, with 8 runs at once."""
    found: list[float] = []
    with (
        tempfile.TemporaryDirectory(prefix="fleetlog-bench-") as folder,
        FleetlogServer(Path(folder) / "home", **settings_of_all(models.url)) as server,
    ):
        start = threading.Barrier(RUNS_AT_ONCE)
        threads = [
            threading.Thread(target=_follow, args=(server, dialect, models, number, start, found))
            for number in range(RUNS_AT_ONCE)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(180)
    assert len(found) > RUNS_AT_ONCE * DELTAS * 0.9, f"only {len(found)} deltas came"
    cuts = statistics.quantiles(found, n=100)
    return {"deltas": len(found), "delta_p50_ms": round(cuts[49], 1), "delta_p99_ms": round(cuts[98], 1)}


def _follow(
    server: FleetlogServer,
    dialect: Dialect,
    models: ModelServer,
    number: int,
    start: threading.Barrier,
    found: list[float],
) -> None:
    model = models.script(Text("x" * DELTAS, pieces=DELTAS, pause_s=0.1, stamped=True))
    body = server.run_body(PROMPT, provider=dialect.name, model=model, executionProfile=dialect.free_profile)
    start.wait(60)
    run_id = server.enqueued(PROMPT, **{**body, "runId": f"bench-{dialect.name}-{number}"})
    with server.client.stream("GET", f"/api/runs/{run_id}/stream") as response:
        kind = held = ""
        for line in response.iter_lines():
            if line.startswith("event: "):
                kind = line.removeprefix("event: ")
            elif line.startswith("data: ") and kind == "message.delta":
                now = time.time_ns()
                *whole, held = (held + json.loads(line.removeprefix("data: "))["text"]).split(" ")
                found.extend((now - int(stamp.lstrip("x"))) / 1e6 for stamp in whole if stamp.lstrip("x"))
            elif kind == "run.finished":
                return


def main() -> None:
    parser = command_line("providers", __doc__, rounds=5)
    parser.add_argument("--provider", choices=list(DRIVERS), help="one alone")
    options = parser.parse_args()
    host, clis = machine(), installed_clis()
    rows: list[dict[str, Any]] = []
    with (
        tempfile.TemporaryDirectory(prefix="fleetlog-bench-") as folder,
        ModelServer() as models,
        running_object_store(Path(folder)) as store,
    ):
        for dialect in DIALECTS:
            if dialect.name in DRIVERS and options.provider in {None, dialect.name}:
                row = cold_start(dialect, models, store, clis, options.rounds)
                rows.append(row | delays(dialect, models))
    show(
        f"first delta from a cold start, and {RUNS_AT_ONCE} runs streaming at once",
        ("provider", "ours", "bare CLI", "overhead", "allowed", "peak, ours", "peak, bare", "delta p50", "delta p99"),
        [
            (
                row["provider"],
                f"{row['ours_ms']:.0f} ms",
                f"{row['bare_ms']:.0f} ms",
                f"{row['overhead_ms']:.0f} ms",
                f"{row['allowed_ms']:.0f} ms",
                f"{row['ours_mb']} MB",
                f"{row['bare_mb']} MB",
                f"{row['delta_p50_ms']:.0f} ms",
                f"{row['delta_p99_ms']:.0f} ms",
            )
            for row in rows
        ],
        host,
    )
    first = rows[0]
    result = {
        "bench": "providers",
        "rounds": options.rounds,
        "ours": first["ours_ms"],
        "baseline": first["bare_ms"],
        "ratio": round(first["bare_ms"] / first["ours_ms"], 3),
        "providers": rows,
        "machine": host,
    }
    conclude(result, as_json=options.json)


if __name__ == "__main__":
    main()
