"""script/demo: a session from start to finish on real input, with a line per step and its duration."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.table import Table
from workspace_digest import digests

REPOSITORY = Path(__file__).resolve().parents[2]
PREFIX = "app/demo/templates/source"
SESSION, RUN = "demo-session", "demo-run"
IDENTITY = {"appId": "demo", "projectName": "fleetlog", "userLoginName": "ada"}
MANIFEST = {
    "appId": "demo",
    "runtimeVersion": "1",
    "workspaceTemplatePrefix": PREFIX,
    "requiredPaths": ["/workspace/pyproject.toml", "/workspace/domain"],
}
FRAMES_BEFORE_THE_BREAK = 8

console = Console(highlight=False)


class StepFailed(Exception):
    """A step of the demo did not hold."""


def check(condition: object, message: str) -> None:
    if not condition:
        raise StepFailed(message)


@contextlib.contextmanager
def step(title: str) -> Iterator[list[str]]:
    """Print one line: the step, the notes that the block appended, and the duration."""
    began = time.monotonic()
    notes: list[str] = []
    try:
        yield notes
    except BaseException:
        console.print(f"[red]✗[/] {title}  [dim]{time.monotonic() - began:.2f} s[/]")
        raise
    detail = f"  [cyan]{'; '.join(notes)}[/]" if notes else ""
    console.print(f"[green]✓[/] {title}{detail}  [dim]{time.monotonic() - began:.2f} s[/]", soft_wrap=True)


@contextlib.contextmanager
def server(home: Path) -> Iterator[httpx.Client]:
    """`fleetlog up` with nothing configured but its folder and a free port; ended by SIGINT."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = (home.parent / "server.log").open("wb")
    process = subprocess.Popen(
        [sys.executable, "-m", "interfaces.cli.main", "up"],
        cwd=REPOSITORY,
        env=environment(home) | {"FLEETLOG_PORT": str(port)},
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=90) as client:
            wait_until_ready(client, process)
            yield client
    finally:
        process.send_signal(signal.SIGINT)
        code = process.wait(60)
        log.close()
    check(code == 0, f"the server ended with exit code {code}")


def environment(home: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("FLEETLOG_", "S3_", "DATABASE_"))}
    return kept | {"FLEETLOG_HOME": str(home)}


def wait_until_ready(client: httpx.Client, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        check(process.poll() is None, "the server ended before it was ready")
        with contextlib.suppress(httpx.TransportError):
            if client.get("/ready").status_code == 200:
                return
        time.sleep(0.05)
    raise StepFailed("the server was not ready within 60 s")


def call(client: httpx.Client, method: str, path: str, **options: Any) -> Any:
    response = client.request(method, path, **options)
    check(response.is_success, f"{method} {path} answered {response.status_code}: {response.text}")
    return response.json()


def frames(client: httpx.Client, last_event_id: str = "") -> Generator[dict[str, Any], None, None]:
    """The frames of the run's stream: `id` (empty for derived ones), `event`, `data`."""
    headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": last_event_id} if last_event_id else {})
    with client.stream("GET", f"/api/runs/{RUN}/stream", headers=headers) as response:
        check(response.status_code == 200, f"the stream answered {response.status_code}")
        frame: dict[str, Any] = {}
        for line in response.iter_lines():
            if not line and frame:
                yield frame
                frame = {}
            elif line and not line.startswith(":"):
                field, _, value = line.partition(": ")
                frame[field] = json.loads(value) if field == "data" else value


def push_template(home: Path, notes: list[str]) -> None:
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=REPOSITORY, capture_output=True, check=False, timeout=30
    ).stdout.decode()
    with tempfile.TemporaryDirectory() as folder:
        count = 0
        for name in filter(None, listed.split("\0")):
            source = REPOSITORY / name
            if source.is_file():
                target = Path(folder, name)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(source, target)
                count += 1
        check(count, "git ls-files named no file: run the demo in a clone of the repository")
        pushed = subprocess.run(
            [sys.executable, "-m", "interfaces.cli.main", "template", "push", folder, PREFIX, "--json"],
            cwd=REPOSITORY,
            env=environment(home),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    check(pushed.returncode == 0, f"fleetlog template push: {pushed.stderr}")
    result = json.loads(pushed.stdout)
    check(result["files"] == count, f"{result['files']} of {count} files were pushed")
    notes.append(f"{count} files, {result['bytes'] / 1e6:.1f} MB under {PREFIX}/")


def stream_with_a_break(client: httpx.Client, notes: list[str]) -> list[dict[str, Any]]:
    """Follow the run live, drop the connection in the middle, and resume by cursor."""
    first: list[dict[str, Any]] = []
    stream = frames(client)
    for frame in stream:
        if "id" in frame:
            first.append(frame)
        if len(first) == FRAMES_BEFORE_THE_BREAK:
            break
    stream.close()
    cursor = first[-1]["id"]
    rest, closed = [], False
    for frame in frames(client, cursor):
        if "id" in frame:
            rest.append(frame)
        closed = frame["event"] == "run.closed"
    check(closed, "the stream ended without run.closed")
    seqs = [int(frame["id"]) for frame in first + rest]
    check(seqs == list(range(1, len(seqs) + 1)), f"the frames' seqs are not 1, 2, 3 …: {seqs}")
    notes.append(
        f"{len(first)} frames, connection dropped at cursor {cursor}, {len(rest)} more after it, no gap, no repeat"
    )
    return first + rest


def show_todos(client: httpx.Client) -> None:
    todos = call(client, "GET", f"/api/runs/{RUN}/todos")
    table = Table("todo", "status", title="Todo list of the run", title_justify="left")
    for item in todos["items"]:
        table.add_row(item["content"], item["status"])
    console.print(table)
    check([item["status"] for item in todos["items"]] == ["done"] * 3, f"not every todo is done: {todos}")


def show_history(events: list[dict[str, Any]]) -> None:
    table = Table("seq", "event", "what", title="History of the run", title_justify="left")
    for frame in events:
        if frame["event"] != "message.delta":
            data = frame["data"]
            what = data.get("phase") or data.get("outcome") or data.get("owner") or ""
            if "todo" in data:
                what = f"{data['todo']['content']}: {data['todo'].get('status', 'todo')}"
            table.add_row(frame["id"], frame["event"], str(what))
    console.print(table)


def time_travel(client: httpx.Client, events: list[dict[str, Any]], notes: list[str]) -> None:
    """The run and its todo list as they were when the first todo was done."""
    seq = next(
        int(frame["id"])
        for frame in events
        if frame["event"] == "todo.update" and frame["data"]["todo"].get("status") == "done"
    )
    then = call(client, "GET", f"/api/runs/{RUN}", params={"atSeq": seq})
    todos = call(client, "GET", f"/api/runs/{RUN}/todos", params={"atSeq": seq})
    now = call(client, "GET", f"/api/runs/{RUN}")
    statuses = [item["status"] for item in todos["items"]]
    check(then["state"] == "running", f"at seq {seq} the run was {then['state']}, not running")
    check(now["state"] == "succeeded", f"now the run is {now['state']}, not succeeded")
    check(statuses == ["done", "todo", "todo"], f"at seq {seq} the todos were {statuses}")
    notes.append(f"at seq {seq} it was {then['state']} with todos {', '.join(statuses)}; now it has {now['state']}")


def activate(client: httpx.Client, manifest: dict[str, Any] | None, expected: str) -> dict[str, Any]:
    body = IDENTITY | ({"manifest": manifest, "runtimeVersion": "1"} if manifest else {})
    answer = call(client, "POST", f"/api/session-workers/{SESSION}/activate", json=body)
    check(answer.get("action") == expected, f"the activation's action is {answer.get('action')}, not {expected}")
    return dict(answer["worker"])


def worker_folder(home: Path, worker: dict[str, Any]) -> Path:
    folder = home / "workers" / str(worker["containerId"])
    check((folder / "workspace").is_dir(), f"{folder} is not the worker's folder")
    return folder


def demo(home: Path) -> None:
    with contextlib.ExitStack() as stack:
        with step("Start Postgres, S3 and Fleetlog with nothing configured"):
            client = stack.enter_context(server(home))
        with step("Put this repository's source into S3 as a runtime template") as notes:
            push_template(home, notes)
        with step("Activate a session from its manifest") as notes:
            folder = worker_folder(home, activate(client, MANIFEST, "created_and_started"))
            notes.append(f"{len(digests(folder / 'workspace'))} paths restored and validated")
        with step("Enqueue a run that works on that source") as notes:
            script = (Path(__file__).parent / "report.sh").read_text()
            body = IDENTITY | {
                "runId": RUN,
                "sessionId": SESSION,
                "provider": "scripted",
                "model": "none",
                "messages": [{"role": "user", "content": "Write a report on the source."}],
                "providerOptions": {"script": script},
            }
            notes.append(
                f"accepted at position {call(client, 'POST', '/api/runs/queue/enqueue', json=body)['position']}"
            )
        with step("Stream it live, drop the connection, resume by cursor") as notes:
            events = stream_with_a_break(client, notes)
        with step("Show its todo list and history"):
            show_todos(client)
            show_history(events)
        with step("Look at the state as it was at an earlier seq") as notes:
            time_travel(client, events, notes)
        before = digests(folder / "workspace")
        with step("Stop the session through the sync gate") as notes:
            worker = call(client, "POST", f"/api/session-workers/{SESSION}/stop")["worker"]
            check(worker["state"] == "stopped", f"the worker is {worker['state']}")
            check(worker["lastSyncStatus"] == "success", f"its last sync is {worker['lastSyncStatus']}")
            notes.append(f"workspace kept as {worker['lastSync']['manifestHash'][:12]}")
        with step("Delete the local workspace"):
            shutil.rmtree(folder)
        with step("Activate again, without a manifest") as notes:
            folder = worker_folder(home, activate(client, None, "created_and_started"))
            after = digests(folder / "workspace")
            differing = sorted(path for path in before.keys() | after.keys() if before.get(path) != after.get(path))
            check(not differing, f"these paths differ after the restore: {differing[:10]}")
            check("report/report.md" in after, "the report is not there")
            notes.append(f"all {len(after)} paths came back bit for bit")
        with step("Stop everything"):
            stack.close()


def main() -> int:
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="fleetlog-demo-") as folder:
        try:
            demo(Path(folder) / "home")
        except (StepFailed, httpx.HTTPError, subprocess.SubprocessError) as error:
            console.print(f"[red]The demo failed:[/] {error}")
            log = Path(folder) / "server.log"
            if log.exists():
                console.print(
                    "The end of the server's log:", *log.read_text().splitlines()[-30:], sep="\n", markup=False
                )
            return 1
    console.print(f"[green]Every step held.[/] [dim]{time.monotonic() - began:.1f} s[/]")
    return 0


if __name__ == "__main__":
    sys.exit(main())
