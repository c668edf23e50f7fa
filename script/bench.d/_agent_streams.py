"""Several runs of one provider stream at once: how long each piece of text takes from the CLI's output to a client.

Every piece that the model sends is a unique time stamp, so that it can be recognised at each step: in the CLI's output
(_stamping_cli.py), in the executor's journal, in the log, and at a client of the run's event stream.
"""

import itertools
import json
import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from _bare_clis import PROMPT

from tests.e2e.providers.agents import settings_of_all
from tests.e2e.providers.dialects import Dialect
from tests.support.fleetlog_server import FleetlogServer
from tests.support.model_server import Gate, ModelServer, Text

PAUSE_S = 0.03
"""Seconds between the pieces of a model: 33 a second, shorter than the coalescing window."""
STEPS = ("model", "printed", "journaled", "appended", "client")
_FOLDER = Path(__file__).resolve().parent
Times = dict[str, int]
"""Nanoseconds since 1970, by time stamp."""


class _StampedServer(FleetlogServer):
    module = "_stamped_server"


def delays(dialect: Dialect, models: ModelServer, clis: Path, runs: int, pieces: int) -> dict[str, Any]:
    """Milliseconds from the CLI's output of a piece to a client, and from each step to the next.

    `runs` runs stream at once, each with this many pieces of text from the model."""
    with tempfile.TemporaryDirectory(prefix="fleetlog-bench-") as folder:
        printed_file = Path(folder) / "printed"
        settings = {
            **settings_of_all(models.url),
            "BENCH_CLIS": str(_stamping(clis, Path(folder) / "clis", printed_file)),
            "PYTHONPATH": os.pathsep.join([str(_FOLDER), str(_FOLDER.parents[1])]),
        }
        with _StampedServer(Path(folder) / "home", **settings) as server:
            appended, client = _streams(server, dialect, models, runs, pieces)
            journaled = _earliest(_journaled(server.home))
        printed = _earliest(line.split() for line in printed_file.read_text().splitlines())
    seen = [
        [int(stamp), printed[stamp], journaled[stamp], appended[stamp], received]
        for stamp, received in client.items()
        if stamp in printed and stamp in journaled
    ]
    # A run's first piece starts the others, and its last one has no end mark: neither is counted.
    assert len(seen) > runs * (pieces - 2) * 0.95, f"only {len(seen)} pieces of {runs} runs with {pieces} each came"
    hops = {
        f"{one} to {other}": _quantiles(times[number + 1] - times[number] for times in seen)
        for number, (one, other) in enumerate(itertools.pairwise(STEPS))
    }
    whole = _quantiles(times[-1] - times[1] for times in seen)
    return {
        "deltas": len(seen),
        "delta_p50_ms": whole["p50_ms"],
        "delta_p99_ms": whole["p99_ms"],
        "from_model_p99_ms": _quantiles(times[-1] - times[0] for times in seen)["p99_ms"],
        "hops": hops,
    }


def _stamping(clis: Path, folder: Path, printed: Path) -> Path:
    """A folder of programs, each of which runs the CLI of its name and records when it prints each piece."""
    folder.mkdir()
    for cli in clis.iterdir():
        program = folder / cli.name
        program.write_text(f'#!/bin/sh\nexec {sys.executable} {_FOLDER}/_stamping_cli.py {cli} {printed} "$@"\n')
        program.chmod(0o755)
    return folder


def _streams(
    server: FleetlogServer, dialect: Dialect, models: ModelServer, runs: int, pieces: int
) -> tuple[Times, Times]:
    """When the log recorded each piece, and when the client got it. All runs wait for the last one's first piece."""
    gates = [Gate() for _ in range(runs)]

    def open_all() -> None:
        for gate in gates:
            gate.open()

    all_stream = threading.Barrier(runs, action=open_all)
    appended: Times = {}
    client: Times = {}

    def follow(number: int, gate: Gate) -> None:
        answer = Text("x" * pieces, pieces=pieces, pause_s=PAUSE_S, stamped=True, gate=gate)
        body = server.run_body(
            PROMPT, provider=dialect.name, model=models.script(answer), executionProfile=dialect.free_profile
        )
        run_id = server.enqueued(PROMPT, **{**body, "runId": f"bench-{dialect.name}-{number}"})
        held, waited = "", False
        for now, delta in _deltas(server, run_id):
            if not waited:
                all_stream.wait(60)
                waited = True
                continue
            *whole, held = (held + delta["text"]).split(" ")
            for stamp in (piece.lstrip("x") for piece in whole):
                appended[stamp] = int(datetime.fromisoformat(delta["ts"]).timestamp() * 1e9)
                client[stamp] = now

    threads = [threading.Thread(target=follow, args=each) for each in enumerate(gates)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(180)
    return appended, client


def _deltas(server: FleetlogServer, run_id: str) -> Iterable[tuple[int, dict[str, Any]]]:
    with server.client.stream("GET", f"/api/runs/{run_id}/stream") as response:
        kind = ""
        for line in response.iter_lines():
            if line.startswith("event: "):
                kind = line.removeprefix("event: ")
            elif line.startswith("data: ") and kind == "message.delta":
                now = time.time_ns()
                yield now, json.loads(line.removeprefix("data: "))


def _journaled(home: Path) -> Iterable[tuple[str, int]]:
    for journal in home.glob("workers/**/journal.ndjson"):
        for line in journal.read_text().splitlines():
            entry = json.loads(line)
            if entry["type"] == "message.delta":
                at = int(datetime.fromisoformat(entry["ts"]).timestamp() * 1e9)
                for piece in entry["payload"]["text"].split():
                    yield piece.lstrip("x"), at


def _earliest(seen: Iterable[Any]) -> Mapping[str, int]:
    found: Times = {}
    for stamp, at in seen:
        found.setdefault(stamp, int(at))
    return found


def _quantiles(nanoseconds: Iterable[int]) -> dict[str, float]:
    cuts = statistics.quantiles((each / 1e6 for each in nanoseconds), n=100)
    return {"p50_ms": round(cuts[49], 1), "p99_ms": round(cuts[98], 1)}
