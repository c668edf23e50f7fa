"""An agent's first delta and memory through an executor, against the bare CLI driven by a 30-line script.

Cold start: from `POST /provider-runs/start` to the first `message.delta` in the run's stream, against the start of the
bare CLI to its first delta, in turn, both with the same scripted model; medians of the rounds. Memory: the peak of the
CLI's own process at that moment. Then 8 runs stream at once through a whole `fleetlog up`: how long a delta takes from
the CLI's output to an SSE client, and how long each step takes: from the model to the CLI's output, into the
executor's journal (with the coalescing window), to the control plane that appends it, to the client. Needs the CLIs of
script/agent-clis. `ours`, `baseline` and `ratio` of the whole are those of the provider with the lowest ratio.
"""

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from _agent_streams import delays
from _bare_clis import DRIVERS, PROMPT
from _measuring import CommandLine, conclude, machine, show, unavailable

from infrastructure.object_store.location import S3Location
from tests.e2e.providers.dialects import DIALECTS, SECRET, Dialect
from tests.integration.executor.worker import Worker
from tests.support.agent_clis import ROOT
from tests.support.model_server import Gate, ModelServer, Text
from tests.support.servers import ObjectStoreServer, running_object_store

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
    """Milliseconds and MB of both, which take turns; the first round only fills caches."""
    access = store.create_bucket_access()
    location = S3Location(
        endpoint=access.endpoint,
        bucket=access.bucket,
        region=access.region,
        access_key=access.access_key_id,
        secret_key=access.secret_access_key,
    )
    ours, theirs = list[tuple[float, float]](), list[tuple[float, float]]()
    with tempfile.TemporaryDirectory(prefix="fleetlog-bench-", ignore_cleanup_errors=True) as folder:
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
        "ours": round(ours_ms, 1),
        "baseline": round(bare_ms, 1),
        "ratio": round(bare_ms / ours_ms, 3),
        "overhead_ms": round(ours_ms - bare_ms, 1),
        "allowed_ms": round(allowed, 1),
        "within": ours_ms - bare_ms <= allowed,
        "ours_mb": round(ours_mb),
        "baseline_mb": round(bare_mb),
    }


def _show_cold_starts(rows: list[dict[str, Any]], host: dict[str, Any]) -> None:
    show(
        "from a cold start to the first delta",
        ("provider", "ours", "bare CLI", "ratio", "overhead", "allowed", "peak memory, ours", "bare CLI"),
        [
            (
                row["provider"],
                *(f"{row[name]:.0f} ms" for name in ("ours", "baseline")),
                f"{row['ratio']:.2f}x",
                *(f"{row[name]:.0f} ms" for name in ("overhead_ms", "allowed_ms")),
                *(f"{row[name]} MB" for name in ("ours_mb", "baseline_mb")),
            )
            for row in rows
        ],
        host,
    )


def _show_streams(rows: list[dict[str, Any]], runs: int, host: dict[str, Any]) -> None:
    def quantiles(hop: dict[str, float]) -> str:
        return f"{hop['p50_ms']:.1f} / {hop['p99_ms']:.1f}"

    show(
        f"{runs} runs streaming at once: milliseconds of a delta on its way, p50 / p99",
        ("provider", *rows[0]["hops"], "printed to client"),
        [
            (
                row["provider"],
                *(quantiles(hop) for hop in row["hops"].values()),
                quantiles({"p50_ms": row["delta_p50_ms"], "p99_ms": row["delta_p99_ms"]}),
            )
            for row in rows
        ],
        host,
    )


def main() -> None:
    parser = CommandLine("providers", __doc__, rounds=5)
    parser.add_size("--runs", 8, toy=2, about="that stream at once")
    parser.add_size("--pieces", 200, toy=20, about="of text in each of these runs")
    parser.add_choice("--provider", list(DRIVERS), toy=["codex-cli"])
    parser.add_argument("--only", choices=("cold", "streams"), help="one half alone")
    options = parser.parse()
    if subprocess.run([ROOT / "script/agent-clis"], timeout=280, check=False).returncode != 0:
        unavailable("script/agent-clis could not install the agents' CLIs; see its message above")
    host, clis = machine(), ROOT / "build/agent-clis/bin"
    cold, streams = list[dict[str, Any]](), list[dict[str, Any]]()
    with (
        tempfile.TemporaryDirectory(prefix="fleetlog-bench-") as folder,
        ModelServer() as models,
        running_object_store(Path(folder)) as store,
    ):
        for dialect in DIALECTS:
            if dialect.name in options.provider:
                if options.only != "streams":
                    cold.append(cold_start(dialect, models, store, clis, options.rounds))
                if options.only != "cold":
                    streams.append(
                        {"provider": dialect.name, **delays(dialect, models, clis, options.runs, options.pieces)}
                    )
    if cold:
        _show_cold_starts(cold, host)
    if streams:
        _show_streams(streams, options.runs, host)
    slowest = min(cold, key=lambda row: float(row["ratio"]), default={"ours": None, "baseline": None, "ratio": None})
    by_provider: dict[str, dict[str, Any]] = {}
    for row in (*cold, *streams):
        by_provider.setdefault(row["provider"], {}).update(row)
    result = {
        "bench": "providers",
        "rounds": options.rounds,
        **{name: slowest[name] for name in ("ours", "baseline", "ratio")},
        "providers": list(by_provider.values()),
        "machine": host,
    }
    conclude(result, as_json=options.json)


if __name__ == "__main__":
    main()
