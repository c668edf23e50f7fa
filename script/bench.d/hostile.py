"""What one session's abuse of any kind does to 20 ordinary sessions with running scripts, against the same without it.

One whole `fleetlog up`, on Docker unless --toy. The others' scripts print what time it is. The figures are the delays
until a client of the run's stream has it, the time of /health on a new connection, and how much the peak of the
server's memory grows. Before each abuse the same is measured for a while without it. An abuser has a session and an API
key of its own; all settings are the defaults. `_abuses.py` is the list; --only selects.
"""

import asyncio
import hashlib
import os
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(Path(__file__).resolve().parent))

import httpx
from _abuses import ABUSES
from _measuring import WIDTH, CommandLine, conclude, machine, show, unavailable
from _neighbours import END_S, Neighbours
from rich.console import Console
from rich.table import Table

from tests.support.docker_containers import remove_everything
from tests.support.docker_fleetlog import DockerFleetlog
from tests.support.memory import peak_bytes
from tests.support.worker_image import IMAGE, ROOT

PROGRAM = Path(__file__).with_name("_abuses.py")
SHORTEST_S = 3.0
"""What is measured of an abuse that is over at once."""
SETTLE_S = 3.0
ALLOWED_DELTA, ALLOWED_HEALTH, ALLOWED_HEALTH_MS, ALLOWED_MB = 2.0, 3.0, 500, 100
KEYS = {"ordinary": secrets.token_hex(16), "abuser": secrets.token_hex(16)}


class Size(NamedTuple):
    """`calm_s`: measured before each abuse. `run_s`: a script of the others. `scale`: of each abuse's figures.
    `patience_s`: what an abuse may take."""

    others: int
    calm_s: float
    run_s: float
    scale: float
    patience_s: float


class Window(NamedTuple):
    """Milliseconds, and the server's largest memory in MB."""

    p50: float
    p99: float
    health_p99: float
    health_max: float
    memory: float


class Found(NamedTuple):
    """Of one abuse. `failures`: of the others' runs; `ended`: by what name it ended."""

    calm: Window
    abused: Window
    runs: int
    failures: list[str]
    seconds: float
    ended: str

    @property
    def ratio(self) -> float:
        return self.abused.p99 / self.calm.p99

    @property
    def health_ratio(self) -> float:
        return self.abused.health_p99 / self.calm.health_p99

    @property
    def growth(self) -> float:
        return max(0.0, self.abused.memory - self.calm.memory)

    @property
    def missed(self) -> list[str]:
        wrong = {
            f"{len(self.failures)} runs failed": bool(self.failures),
            "deltas": self.ratio > ALLOWED_DELTA,
            "health": self.health_ratio > ALLOWED_HEALTH or self.abused.health_max > ALLOWED_HEALTH_MS,
            "memory": self.growth > ALLOWED_MB,
        }
        return [name for name, is_so in wrong.items() if is_so]


class KeyedFleetlog(DockerFleetlog):
    """With the keys of the abuser and of the others, its own client among these."""

    def __init__(self, home: Path, **environment: str) -> None:
        hashes = ",".join(f"{name}:{hashlib.sha256(key.encode()).hexdigest()}" for name, key in KEYS.items())
        super().__init__(home, FLEETLOG_API_KEYS=hashes, **environment)
        self.client.headers["authorization"] = f"Bearer {KEYS['ordinary']}"


@contextmanager
def server(folder: Path, runtime: str) -> Iterator[KeyedFleetlog]:
    if runtime == "process":
        with KeyedFleetlog(folder / "home") as fleetlog:
            yield fleetlog
        return
    if subprocess.run(["docker", "version"], stdout=subprocess.DEVNULL, timeout=30, check=False).returncode != 0:
        unavailable("no Docker Engine answers; script/docker-engine starts one, or give --runtime process")
    subprocess.run([ROOT / "script/worker-image", "--tag", IMAGE], check=True, timeout=900)
    installation = ""
    try:
        with KeyedFleetlog(folder / "home", WORKER_RUNTIME="docker", WORKER_IMAGE=IMAGE) as fleetlog:
            fleetlog.activate("first")
            installation = fleetlog.installation("first")
            yield fleetlog
    finally:  # once the server is gone, which would go on with runs in new containers
        if installation:
            remove_everything(installation)


class Bench:
    def __init__(self, fleetlog: KeyedFleetlog, others: Neighbours, client: httpx.AsyncClient, size: Size) -> None:
        self._fleetlog, self._others, self._client, self._size = fleetlog, others, client, size

    async def measured(self, abuse: str, number: int) -> Found:
        session = f"abuser-{abuse}-{number}"
        body = {"appId": "app", "userLoginName": "abuser"}
        (await self._client.post(f"/api/session-workers/{session}/activate", json=body)).raise_for_status()
        await asyncio.sleep(min(SETTLE_S, self._size.calm_s))
        began = self._begin()
        await asyncio.sleep(self._size.calm_s)
        calm = await self._end(began)
        began = self._begin()
        ended = await self._abuse(abuse, session)
        seconds = time.time() - began
        await asyncio.sleep(began + min(SHORTEST_S, self._size.calm_s) - time.time())
        moment = time.time()
        abused = await self._end(began)
        runs = [run for run in self._others.runs if run.ended >= began and run.began <= moment]
        ended += await self._discarded(session)
        return Found(calm, abused, len(runs), [run.failure for run in runs if run.failure], seconds, ended)

    async def _abuse(self, name: str, session: str) -> str:
        size = self._size
        arguments = [str(self._fleetlog.port), KEYS["abuser"], session, name, str(size.scale), str(size.patience_s)]
        process = await asyncio.create_subprocess_exec(
            sys.executable, str(PROGRAM), *arguments, stdout=asyncio.subprocess.PIPE
        )
        try:
            async with asyncio.timeout(3 * size.patience_s):
                said, _ = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        assert process.returncode == 0, f"the abuser of {name} failed"
        return said.decode().strip()

    async def _discarded(self, session: str) -> str:
        """Remove the abuser's container with all that is in it; why that was refused, if it was."""
        path, reason = f"/api/session-workers/{session}/discard-workspace", {"reason": "the benchmark's abuse is over"}
        end = time.time() + self._size.patience_s
        while (answer := await self._client.post(path, json=reason)).is_error and time.time() < end:  # noqa: ASYNC110
            await asyncio.sleep(1)
        return f"; not discarded: {answer.text}" if answer.is_error else ""

    def _begin(self) -> float:
        """The peak of the server's memory begins anew, too."""
        Path(f"/proc/{self._fleetlog.pid}/clear_refs").write_text("5", encoding="ascii")
        return time.time()

    async def _end(self, began: float) -> Window:
        ended, memory = time.time(), peak_bytes(self._fleetlog.pid) / 1e6
        await self._others.settled(ended)
        late = [1000 * delta.late for delta in self._others.deltas if began <= delta.printed <= ended]
        late = late or [1000 * END_S]  # none came
        health = [1000 * probe.took for probe in self._others.probes if began <= probe.at <= ended]
        return Window(statistics.median(late), p99(late), p99(health), max(health), memory)


def p99(values: Sequence[float]) -> float:
    return sorted(values)[int(len(values) * 0.99)]


async def found(fleetlog: KeyedFleetlog, only: Sequence[str], size: Size, rounds: int) -> dict[str, list[Found]]:
    all_found: dict[str, list[Found]] = {abuse: [] for abuse in only}
    headers = {"authorization": f"Bearer {KEYS['abuser']}"}
    url = f"http://127.0.0.1:{fleetlog.port}"
    async with (
        httpx.AsyncClient(base_url=url, headers=headers, timeout=300, trust_env=False) as client,
        Neighbours(fleetlog.port, KEYS["ordinary"], size.others, size.run_s) as others,
    ):
        bench = Bench(fleetlog, others, client, size)
        await asyncio.sleep(size.run_s)  # the first run of each is over, so that none is measured in a cold process
        for number in range(rounds):
            for abuse in only:
                all_found[abuse].append(await bench.measured(abuse, number))
                print(abuse, as_object(all_found[abuse][-1]), file=sys.stderr)
    return all_found


def run(runtime: str, only: Sequence[str], size: Size, rounds: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="fleetlog-bench-") as folder, server(Path(folder), runtime) as fleetlog:
        host = machine()
        if os.geteuid() == 0:
            os.setpriority(os.PRIO_PROCESS, 0, -10)  # so that the clients' own delays are small
        all_found = asyncio.run(found(fleetlog, only, size, rounds))
    return report(runtime, {name: median(each) for name, each in all_found.items()}, size, rounds, host)


def median(rounds: Sequence[Found]) -> Found:
    """The medians of its figures; runs and failures of all rounds."""
    calm, abused = (
        Window(*(statistics.median(values) for values in zip(*windows, strict=True)))
        for windows in ([each.calm for each in rounds], [each.abused for each in rounds])
    )
    failures = [failure for each in rounds for failure in each.failures]
    seconds = statistics.median(each.seconds for each in rounds)
    endings = dict.fromkeys(each.ended for each in rounds)
    return Found(calm, abused, sum(each.runs for each in rounds), failures, seconds, " | ".join(endings))


def report(runtime: str, abuses: dict[str, Found], size: Size, rounds: int, host: dict[str, Any]) -> dict[str, Any]:
    show_ends(abuses)
    show(
        f"hostile: {size.others} ordinary sessions ({runtime}) beside an abuse, medians of {rounds} rounds",
        ("abuse", "runs ok", "delta p50 ms", "p99 ms", "ratio", "health p99 ms", "ratio", "max", "memory"),
        [
            *(row(name, each) for name, each in abuses.items()),
            ("allowed", "all", "", "", f"{ALLOWED_DELTA:g}x", "", f"{ALLOWED_HEALTH:g}x", f"{ALLOWED_HEALTH_MS}",
             f"+{ALLOWED_MB} MB"),
        ],
        host,
    )  # fmt: skip
    worst = max(abuses.values(), key=lambda each: each.ratio)
    return {
        "bench": "hostile",
        "rounds": rounds,
        "ours": round(worst.abused.p99, 1),
        "baseline": round(worst.calm.p99, 1),
        "ratio": round(worst.ratio, 2),
        "runtime": runtime,
        "failed_runs": sum(len(each.failures) for each in abuses.values()),
        "abuses": {name: as_object(each) for name, each in abuses.items()},
        "machine": host,
    }


def show_ends(abuses: dict[str, Found]) -> None:
    table = Table(title="by what name each abuser ended")
    for column in ("abuse", "seconds", "ended", "missed"):
        table.add_column(column, justify="right" if column == "seconds" else "left")
    for name, each in abuses.items():
        missed = [*each.missed, *dict.fromkeys(each.failures)]
        table.add_row(ABUSES[name].__doc__ or name, f"{each.seconds:.1f}", each.ended, ", ".join(missed))
    Console(width=WIDTH).print(table)


def row(name: str, each: Found) -> tuple[str, ...]:
    calm, abused = each.calm, each.abused
    return (
        name,
        f"{each.runs - len(each.failures)}/{each.runs}",
        f"{calm.p50:.0f} : {abused.p50:.0f}",
        f"{calm.p99:.0f} : {abused.p99:.0f}",
        f"{each.ratio:.2f}x",
        f"{calm.health_p99:.0f} : {abused.health_p99:.0f}",
        f"{each.health_ratio:.2f}x",
        f"{abused.health_max:.0f}",
        f"+{each.growth:.0f} MB",
    )


def as_object(each: Found) -> dict[str, Any]:
    return {
        "ended": each.ended,
        "seconds": round(each.seconds, 1),
        "runs": each.runs,
        "failures": each.failures,
        "delta_p50_ms": [round(each.calm.p50, 1), round(each.abused.p50, 1)],
        "delta_p99_ms": [round(each.calm.p99, 1), round(each.abused.p99, 1)],
        "health_p99_ms": [round(each.calm.health_p99, 1), round(each.abused.health_p99, 1)],
        "health_max_ms": round(each.abused.health_max, 1),
        "memory_mb": round(each.growth, 1),
        "missed": each.missed,
    }


def main() -> None:
    parser = CommandLine("hostile", __doc__, rounds=1)
    parser.add_choice("--only", list(ABUSES), toy=["todos", "deep", "forks", "bodies", "streams", "idle"])
    parser.add_argument("--runtime", choices=("docker", "process"), help="default: docker, with --toy: process")
    parser.add_size("--others", 20, toy=2, about="ordinary sessions")
    parser.add_size("--calm", 15.0, toy=1.0, about="seconds without the abuse before each")
    parser.add_size("--run", 10.0, toy=0.5, about="seconds of one of the others' scripts")
    parser.add_size("--scale", 1.0, toy=0.002, about="the part of each abuse's figures")
    parser.add_size("--patience", 120.0, toy=30.0, about="seconds that an abuse may take")
    options = parser.parse()
    size = Size(options.others, options.calm, options.run, options.scale, options.patience)
    runtime = options.runtime or ("process" if options.toy else "docker")
    conclude(run(runtime, options.only, size, options.rounds), as_json=options.json)


if __name__ == "__main__":
    main()
