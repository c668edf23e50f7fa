"""Activating an empty session on Docker until its workspace is validated, against `docker run` until it is healthy.

The baseline is `docker run` of the same image with the same limits, until the executor's /health answers; ours is
`POST /api/session-workers/{id}/activate` at a real `fleetlog up`, until it answers that the worker runs. Both take
turns; the figures are medians of the rounds. Needs a Docker Engine (script/docker-engine); builds a missing image.
"""

import http.client
import json
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(Path(__file__).resolve().parent))

import msgspec
from _measuring import CommandLine, conclude, machine, on_debian, postgres, show, unavailable

from application.executor_protocol import ExecutorConfig
from infrastructure.runtimes.container_settings import (
    AGENT_USER,
    CONFIG_FILE,
    CONFIG_FOLDER,
    EXECUTOR_CAPABILITIES,
    EXECUTOR_PORT,
)
from infrastructure.runtimes.docker import FOLDERS
from tests.support.docker_containers import LABEL, docker, remove_everything
from tests.support.fleetlog_parts import on_database
from tests.support.fleetlog_server import FleetlogServer
from tests.support.worker_image import IMAGE, ROOT

TIMEOUT_S = 60


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def executor_config(folder: Path) -> Path:
    """The configuration that `docker run` gives the executor; its object store is not called before a restore."""
    config = ExecutorConfig(
        session_id="bench",
        generation=1,
        container_id="bench",
        token="bench",
        host="0.0.0.0",
        port=EXECUTOR_PORT,
        workspace_dir=str(FOLDERS.workspace),
        home_dir=str(FOLDERS.home),
        state_dir=str(FOLDERS.state),
        s3_endpoint="http://127.0.0.1:1",
        s3_bucket="bench",
        s3_access_key="bench",
        s3_secret_key="bench",
        idle_exit_s=0,
        agent_user=AGENT_USER,
    )
    path = folder / CONFIG_FILE
    path.touch(mode=0o600)
    path.write_bytes(msgspec.json.encode(config))
    return path


def docker_run(config: Path) -> float:
    """Seconds until a container's executor answers; the container is removed."""
    port, name = free_port(), f"fleetlog-bench-{uuid.uuid4().hex[:8]}"
    limits = ["--cpus=1", "--memory=2g", "--memory-swap=2g", "--pids-limit=512", "--security-opt=no-new-privileges"]
    rights = ["--cap-drop=ALL", *(f"--cap-add={each}" for each in EXECUTOR_CAPABILITIES)]
    mount = f"--volume={config}:{CONFIG_FOLDER}/{CONFIG_FILE}:ro"
    command = ["docker", "run", "--detach", f"--name={name}", *limits, *rights, mount]
    try:
        began = time.perf_counter()
        published = f"--publish=127.0.0.1:{port}:{EXECUTOR_PORT}"
        subprocess.run([*command, published, IMAGE], check=True, timeout=TIMEOUT_S, capture_output=True)
        while not healthy(port):
            if time.perf_counter() - began > TIMEOUT_S:
                raise TimeoutError(docker("logs", name))
            time.sleep(0.005)
        return time.perf_counter() - began
    finally:
        docker("rm", "-fv", name)


def healthy(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", "/health")
        return bool(json.load(connection.getresponse())["ok"])
    except (OSError, http.client.HTTPException, ValueError):
        return False
    finally:
        connection.close()


def activate(server: FleetlogServer) -> tuple[float, dict[str, float]]:
    """Seconds of one activation, and of its steps by the log; the worker is stopped afterwards."""
    session = f"bench-{uuid.uuid4().hex[:8]}"
    began = time.perf_counter()
    answer = server.activate(session)
    elapsed = time.perf_counter() - began
    if answer["action"] != "created_and_started":
        raise RuntimeError(f"the activation ended with {answer}")
    events = server.ok("GET", f"/api/streams/session:{session}/events")["events"]
    server.ok("POST", f"/api/session-workers/{session}/stop")
    return elapsed, steps(events)


def steps(events: list[dict[str, Any]]) -> dict[str, float]:
    """Seconds from the event before to each event."""
    times = [datetime.fromisoformat(event["occurredAt"]) for event in events]
    names = [event["type"].removeprefix("session.") for event in events]
    return {name: (now - then).total_seconds() for name, then, now in zip(names[1:], times, times[1:], strict=False)}


def run(rounds: int) -> dict[str, Any]:
    if subprocess.run(["docker", "version"], stdout=subprocess.DEVNULL, timeout=30, check=False).returncode != 0:
        unavailable("no Docker Engine answers; script/docker-engine starts one")
    subprocess.run([ROOT / "script/worker-image", "--tag", IMAGE], check=True, timeout=900)
    folder = Path(tempfile.mkdtemp(prefix="fleetlog-bench-"))
    theirs: list[float] = []
    ours: list[float] = []
    each_step: list[dict[str, float]] = []
    try:
        config = executor_config(folder)
        with (
            database() as settings,
            FleetlogServer(folder / "home", WORKER_RUNTIME="docker", WORKER_IMAGE=IMAGE, **settings) as server,
        ):
            server.activate("first")
            container = server.ok("GET", "/api/session-workers/first")["containerId"]
            installation = docker("inspect", "--format", f'{{{{index .Config.Labels "{LABEL}"}}}}', container)
            try:
                server.ok("POST", "/api/session-workers/first/stop")
                docker_run(config)
                for _ in range(rounds):
                    theirs.append(docker_run(config))
                    elapsed, of_steps = activate(server)
                    ours.append(elapsed)
                    each_step.append(of_steps)
            finally:
                remove_everything(installation)
    finally:
        shutil.rmtree(folder)
    return report(theirs, ours, each_step)


@contextmanager
def database() -> Iterator[dict[str, str]]:
    """The settings of the server's database: none for the embedded one."""
    if not on_debian():
        yield {}
        return
    with postgres() as debian:
        yield on_database(debian.create_database())


def report(theirs: list[float], ours: list[float], each_step: list[dict[str, float]]) -> dict[str, Any]:
    ratio = statistics.median(ours) / statistics.median(theirs)
    rows = [
        [name, f"{statistics.median(values) * 1000:.0f}", beside, " ".join(f"{value * 1000:.0f}" for value in values)]
        for name, values, beside in (("docker run", theirs, ""), ("activate", ours, f"{ratio:.2f}x"))
    ]
    medians = {name: statistics.median(found[name] for found in each_step) for name in each_step[0]}
    rows += [[f"  until {name}", f"{value * 1000:.0f}", "", ""] for name, value in medians.items()]
    host = machine()
    title = f"activate: an empty session on Docker, medians of {len(ours)} rounds"
    show(title, ("variant", "ms", "ratio", "rounds"), rows, host)
    return {
        "bench": "activate",
        "rounds": len(ours),
        "ours": round(statistics.median(ours), 3),
        "baseline": round(statistics.median(theirs), 3),
        "ratio": round(ratio, 2),
        "steps_s": {name: round(value, 3) for name, value in medians.items()},
        "machine": host,
    }


def main() -> None:
    options = CommandLine("activate", __doc__, rounds=7).parse()
    conclude(run(options.rounds), as_json=options.json)


if __name__ == "__main__":
    main()
