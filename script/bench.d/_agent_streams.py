"""Eight runs of one provider that stream at once: how long each piece of text takes from the CLI's printing to a
client.

Every piece that the model sends is a time stamp, so that it can be told apart wherever it is seen: when the CLI prints
it (_stamping_cli.py), in the executor's journal, in the log, and by a client of the run's event stream.
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

RUNS_AT_ONCE = 8
PIECES = 200
PAUSE_S = 0.03
"""Between the pieces of a model: 33 a second, within the coalescing window."""
STEPS = ("model", "printed", "journaled", "appended", "client")
_FOLDER = Path(__file__).resolve().parent
Times = dict[str, int]
"""Stamp → nanoseconds since 1970."""


class _StampedServer(FleetlogServer):
    module = "_stamped_server"


def delays(dialect: Dialect, models: ModelServer, clis: Path) -> dict[str, Any]:
    """Milliseconds from the CLI's printing of a piece to a client, and from step to step before it."""
    with tempfile.TemporaryDirectory(prefix="fleetlog-bench-") as folder:
        printed_file = Path(folder) / "printed"
        settings = {
            **settings_of_all(models.url),
            "BENCH_CLIS": str(_stamping(clis, Path(folder) / "clis", printed_file)),
            "PYTHONPATH": os.pathsep.join([str(_FOLDER), str(_FOLDER.parents[1])]),
        }
        with _StampedServer(Path(folder) / "home", **settings) as server:
            appended, client = _streams(server, dialect, models)
            journaled = _earliest(_journaled(server.home))
        printed = _earliest(line.split() for line in printed_file.read_text().splitlines())
    seen = [
        [int(stamp), printed[stamp], journaled[stamp], appended[stamp], received]
        for stamp, received in client.items()
        if stamp in printed and stamp in journaled
    ]
    assert len(seen) > RUNS_AT_ONCE * (PIECES - 1) * 0.95, f"only {len(seen)} pieces came"
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
    """A folder of programs, each of which runs the CLI of its name and notes what it prints."""
    folder.mkdir()
    for cli in clis.iterdir():
        program = folder / cli.name
        program.write_text(f'#!/bin/sh\nexec {sys.executable} {_FOLDER}/_stamping_cli.py {cli} {printed} "$@"\n')
        program.chmod(0o755)
    return folder


def _streams(server: FleetlogServer, dialect: Dialect, models: ModelServer) -> tuple[Times, Times]:
    """When the log was given each piece, and when the client had it. All runs wait for the last one's first piece."""
    gates = [Gate() for _ in range(RUNS_AT_ONCE)]
    all_stream = threading.Barrier(RUNS_AT_ONCE, action=lambda: [gate.open() for gate in gates] and None)
    appended: Times = {}
    client: Times = {}

    def follow(number: int, gate: Gate) -> None:
        answer = Text("x" * PIECES, pieces=PIECES, pause_s=PAUSE_S, stamped=True, gate=gate)
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
