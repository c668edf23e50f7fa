"""A real `fleetlog up` or `fleetlog api` as a child process: started, killed, started again on the same home."""

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from tests.support.ports import reserved_port

REPOSITORY = Path(__file__).resolve().parents[2]
START_TIMEOUT_S = 180
PATIENCE_S = 240


class FleetlogServer:
    """As a context manager: started with nothing configured but its home and port; stopped by SIGINT at the end.
    `stop_workers`: agents that run end with it. `module`, a class's own, may be a test's variant of the command
    line."""

    module = "interfaces.cli.main"

    def __init__(self, home: Path, command: str = "up", **environment: str) -> None:
        self.home, self._part = home, command
        self._environment = environment
        if os.geteuid() != 0:
            self._environment = {"FLEETLOG_WORKER_EGRESS": "open", **environment}  # an ordinary user can't limit it
        self.prefix: tuple[str, ...] = ()
        self.stop_workers = True
        self.port = reserved_port()
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=240, trust_env=False)
        self._process: subprocess.Popen[str] | None = None
        self._position = 0

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.client.close()
        if self._process is None:
            self.start()
        assert self.stop() == 0, self.log_tail()

    def start(self) -> None:
        """Start it and wait until it says where it is: then it is ready."""
        self.home.parent.mkdir(parents=True, exist_ok=True)
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [*self.prefix, sys.executable, "-m", self.module, *self._arguments()],
                cwd=REPOSITORY,
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
            )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._end(signal.SIGKILL)
        assert line, f"fleetlog {self._part} ended before it was ready:\n{self.log_tail()}"
        assert json.loads(line)["url"].endswith(f":{self.port}")

    def _arguments(self) -> list[str]:
        stop_workers = ["--stop-workers"] if self._part == "up" and self.stop_workers else []
        return [self._part, "--json", *stop_workers]

    def environment(self) -> dict[str, str]:
        """What another `fleetlog` command beside this server needs."""
        return (
            inherited_environment()
            | {"FLEETLOG_HOME": str(self.home), "FLEETLOG_PORT": str(self.port)}
            | self._environment
        )

    def command(self, *arguments: str) -> str:
        """What another `fleetlog` command on the same home prints."""
        done = subprocess.run(
            [sys.executable, "-m", "interfaces.cli.main", *arguments],
            cwd=REPOSITORY,
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def stop(self, number: signal.Signals = signal.SIGINT) -> int:
        """Ctrl-C, or another request to end; the exit code."""
        return self._end(number)

    def kill(self) -> None:
        """kill -9."""
        self._end(signal.SIGKILL)

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def ended(self, timeout_s: float) -> int:
        """Its exit code, once it has ended by itself."""
        assert self._process is not None
        self._process.wait(timeout_s)
        return self._end(signal.SIGTERM)

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def _log(self) -> Path:
        return self.home.parent / "server.log"

    def log_text(self) -> str:
        """What the server logged, of all its starts."""
        return self._log.read_text() if self._log.exists() else ""

    def log_tail(self) -> str:
        """The end of it."""
        return "\n".join(self.log_text().splitlines()[-40:])

    def _end(self, number: signal.Signals) -> int:
        assert self._process is not None
        self._process.send_signal(number)
        code = self._process.wait(180)
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._process = None
        return code

    def ok(self, method: str, path: str, **options: Any) -> Any:
        """The JSON of a successful answer; a read sees what was accepted before it."""
        if method == "GET" and not {"atSeq", "atPosition"} & set(options.get("params") or {}):
            options["params"] = {"minPosition": self._position} | (options.get("params") or {})
        response = self.client.request(method, path, **options)
        assert response.is_success, f"{method} {path}: {response.status_code} {response.text}\n{self.log_tail()}"
        answer = response.json()
        if method == "POST":
            parts = answer if isinstance(answer, list) else [answer]
            self._position = max(self._position, *(part.get("position", 0) for part in parts))
        return answer

    def problem(self, status: int, method: str, path: str, **options: Any) -> dict[str, Any]:
        """The problem of an answer that is refused with `status`."""
        response = self.client.request(method, path, **options)
        assert response.status_code == status, (
            f"{method} {path}: {response.status_code} {response.text}\n{self.log_tail()}"
        )
        assert response.headers["content-type"].startswith("application/problem+json")
        return dict(response.json())

    def activate(self, session_id: str, **body: Any) -> Any:
        identity = {"appId": "app", "userLoginName": "ada"}
        return self.ok("POST", f"/api/session-workers/{session_id}/activate", json=identity | body)

    def run_body(self, script: str, **body: Any) -> dict[str, Any]:
        """The body of a scripted run of app `app` and user `ada`."""
        return {
            "appId": "app",
            "userLoginName": "ada",
            "provider": "scripted",
            "model": "none",
            "messages": [{"role": "user", "content": script}],
        } | body

    def finished(self, script: str, **body: Any) -> Any:
        """A run from its start to its end: `{runId, accepted, warnings, events, snapshot}`."""
        return self.ok("POST", "/api/runs/start", json=self.run_body(script, **body))

    def enqueued(self, script: str, **body: Any) -> str:
        """The run id of a queued run."""
        body.setdefault("runId", new_id("run"))
        answer = self.ok("POST", "/api/runs/queue/enqueue", json=self.run_body(script, **body))
        assert answer["accepted"]
        return str(answer["runId"])

    def frames(self, run_id: str, cursor: int = 0) -> Iterator[dict[str, Any]]:
        """The frames of a run's stream; `id` is missing in derived ones."""
        with self.client.stream("GET", f"/api/runs/{run_id}/stream", params={"cursor": cursor}) as response:
            assert response.status_code == 200, response.read()
            yield from frames_of(response)

    def until(self, run_id: str, event: str) -> list[dict[str, Any]]:
        """The stored frames of a run up to and with the first of this type, as soon as it is there."""
        seen = []
        for frame in self.frames(run_id):
            if "id" in frame:
                seen.append(frame)
            if frame["event"] == event:
                return seen
        raise AssertionError(f"run {run_id} ended without {event}: {[frame['event'] for frame in seen]}, {seen[-1:]}")

    def history(self, run_id: str) -> list[dict[str, Any]]:
        """All stored frames of a run, to its end."""
        return [frame for frame in self.frames(run_id) if "id" in frame]

    def session_events(self, session_id: str, until: str, nth: int = 1) -> list[str]:
        """The types of a session's events, up to the nth of type `until`, as soon as it is there."""
        seen: list[str] = []
        query: dict[str, Any] = {"stream": f"session:{session_id}", "after": 0}
        with self.client.stream(
            "GET", "/api/events", params=query, headers={"accept": "text/event-stream"}, timeout=240
        ) as answer:
            assert answer.status_code == 200, answer.read()
            for line in answer.iter_lines():
                name, _, value = line.partition(": ")
                if name == "event" and value.startswith("session."):
                    seen.append(value)
                    if seen.count(until) == nth:
                        return seen
        raise AssertionError(f"the stream of {session_id} ended without {until}: {seen}")

    def stream(self, session_id: str) -> list[dict[str, Any]]:
        """A session's whole history, to the end of a read that sees what was answered before."""
        events: list[dict[str, Any]] = []
        while page := self.ok(
            "GET",
            f"/api/streams/session:{session_id}/events",
            params={"limit": 500, "after": events[-1]["seq"] if events else 0},
        )["events"]:
            events += page
        return events

    def until_session(self, session_id: str, event: str, after: int = 0) -> dict[str, Any]:
        """The first event of this type in a session's stream after position `after`, as soon as it is there."""
        query: dict[str, Any] = {"stream": f"session:{session_id}", "type": event, "after": after}
        headers = {"accept": "text/event-stream"}
        deadline = time.monotonic() + PATIENCE_S
        with self.client.stream("GET", "/api/events", params=query, headers=headers) as response:
            assert response.status_code == 200, response.read()
            for line in response.iter_lines():  # heartbeats, too
                assert time.monotonic() < deadline, f"no {event} of {session_id} in {PATIENCE_S} s:\n{self.log_tail()}"
                if line.startswith("data: ") and (found := json.loads(line[6:])).get("type") == event:
                    self._position = max(self._position, found["position"])
                    return dict(found)
        raise AssertionError(f"the stream of events ended without {event}:\n{self.log_tail()}")

    def worker_folder(self, session_id: str) -> Path:
        """Where the `process` runtime keeps the session's container."""
        worker = self.ok("GET", f"/api/session-workers/{session_id}")
        return self.home / "workers" / worker["containerId"]


def not_ready(server: FleetlogServer) -> dict[str, str]:
    """The details of the dependencies that `/ready` says don't work, by name."""
    answer = server.client.get("/ready")
    broken = {each["name"]: each["detail"] for each in answer.json()["dependencies"] if not each["ok"]}
    assert answer.status_code == (503 if broken else 200), answer.text
    return broken


def frames_of(response: httpx.Response) -> Iterator[dict[str, Any]]:
    """The frames of an event stream, as far as it goes."""
    frame: dict[str, Any] = {}
    for line in response.iter_lines():
        if not line and frame:
            yield frame
            frame = {}
        elif line and not line.startswith(":"):
            field, _, value = line.partition(": ")
            frame[field] = json.loads(value) if field == "data" else value


def inherited_environment() -> dict[str, str]:
    """This process's environment without any setting of Fleetlog."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("FLEETLOG_", "S3_"))}


def new_id(kind: str) -> str:
    """An id that no other test uses."""
    return f"{kind}-{uuid.uuid4().hex[:10]}"
