"""A real executor process with its folders, and calls to it in few words."""

import json
import os
import select
import subprocess
import sys
import time
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from uuid import uuid4

import httpx

ROOT = Path(__file__).resolve().parents[3]
PREFIX = "app/a/project/p/u/session/s1/workspace"
TOKEN = "token-of-this-worker"


def l0(prefix="template/"):
    return {"level": "L0", "name": "registry_base", "from": prefix, "to": "/workspace"}


def l1(prefix=PREFIX):
    return {"level": "L1", "name": "session_overlay", "from": f"{prefix}/", "to": "/workspace", "optional": True}


L4 = {"level": "L4", "name": "runtime_fixups", "from": "runtime://link-agent-data", "to": "/workspace/.agent_data"}


class Worker:
    def __init__(self, folder, location, **settings):
        self.folder = folder
        self.workspace, self.home, self.state = folder / "ws", folder / "home", folder / "state"
        self.real_home = folder / "real-home"
        for made in (folder, self.real_home):
            made.mkdir()
        self.config = {
            "sessionId": "s1",
            "generation": 1,
            "containerId": f"c-{folder.name}-{os.getpid()}",
            "token": TOKEN,
            "workspaceDir": str(self.workspace),
            "homeDir": str(self.home),
            "stateDir": str(self.state),
            "s3Endpoint": location.endpoint,
            "s3Bucket": location.bucket,
            "s3Region": location.region,
            "s3AccessKey": location.access_key,
            "s3SecretKey": location.secret_key,
            "idleExitS": 60,
            **settings,
        }
        self.process = None
        self.http = None

    def start(self, **environment):
        config = self.folder / "executor.json"
        config.touch(mode=0o600)
        config.write_text(json.dumps(self.config))
        endpoint = self.state / "endpoint.json"
        endpoint.unlink(missing_ok=True)
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "interfaces.executor", "--config", str(config)],
                cwd=ROOT,
                stderr=log,
                env={"PATH": os.environ["PATH"], "HOME": str(self.real_home), **environment},
            )
        deadline = time.monotonic() + 120
        while not endpoint.exists():
            assert self.process.poll() is None, self.log()
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.01)
        self.endpoint = json.loads(endpoint.read_text())
        if self.http is not None:
            self.http.close()
        self.http = httpx.Client(
            base_url=self.endpoint["url"], headers={"authorization": f"Bearer {TOKEN}"}, timeout=120
        )
        return self

    def log(self):
        return (self.folder / "log").read_text()

    def kill(self):
        """SIGKILL the executor alone; what it started lives on."""
        self.process.kill()
        self.process.wait(10)
        self.http.close()

    def end(self):
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(10)
        if self.http is not None:
            self.http.close()

    def wait_for_exit(self, timeout):
        pidfd = os.pidfd_open(self.process.pid)
        try:
            assert select.select([pidfd], [], [], timeout)[0], "the executor does not end"
        finally:
            os.close(pidfd)
        return self.process.wait(5)

    def post(self, path, **fields):
        call = {"sessionId": self.config["sessionId"], "generation": self.config["generation"], "containerId": "c"}
        return self.http.post(path, json={**call, **fields})

    def restore(self, layers=None, *, sync=None, **plan):
        answer = self.try_restore(layers, sync=sync, **plan)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def try_restore(self, layers=None, *, sync=None, **plan):
        plan = {"layers": layers if layers is not None else [l1(), L4], **plan}
        if sync is not None:
            plan["sessionSync"] = sync
        return self.post("/workspace/restore", plan=plan, workspaceS3Prefix=PREFIX)

    def sync(self, **fields):
        answer = self.try_sync(**fields)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def try_sync(self, **fields):
        return self.post(
            "/workspace/sync", **{"workspaceS3Prefix": PREFIX, "syncId": "x", "reason": "manual", **fields}
        )

    def start_run(self, script, run_id=None, attempt=1, **options):
        answer = self.try_start(script, run_id, attempt, **options)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def try_start(self, script, run_id=None, attempt=1, *, spec=None, session_seq=0, variables=None, **options):
        self.run_id = run_id or f"run-{uuid4().hex[:8]}"
        spec = {
            "sessionId": self.config["sessionId"],
            "userLoginName": "u",
            "provider": "scripted",
            "messages": [],
            "providerOptions": {"script": script, **options},
            **(spec or {}),
        }
        call = {"runId": self.run_id, "attempt": attempt, "spec": spec, "sessionSeq": session_seq}
        return self.post("/provider-runs/start", **call, variables=variables or {})

    @contextmanager
    def following(self, cursor=0):
        """The entries of the run that was started last, as they come."""
        with self.http.stream("GET", f"/provider-runs/{self.run_id}/stream", params={"cursor": cursor}) as answer:
            assert answer.status_code == 200
            yield (json.loads(line) for line in _lines(answer.iter_bytes()) if line)

    def journal(self, cursor=0):
        """All entries to the run's end."""
        with self.following(cursor) as entries:
            return list(entries)

    def run(self, script, **options):
        self.start_run(script, **options)
        return self.journal()

    def run_state(self):
        return self.http.get(f"/provider-runs/{self.run_id}").json()

    def stop_run(self):
        return self.http.post(f"/provider-runs/{self.run_id}/stop")

    def reply(self, question_id, answer, run_id=None):
        return self.http.post(
            f"/provider-runs/{run_id or self.run_id}/human-loop/reply",
            json={"questionId": question_id, "answer": answer},
        )


def _lines(chunks):
    held = b""
    for chunk in chunks:
        *lines, held = (held + chunk).split(b"\n")
        yield from lines
    assert held == b""


def text_of(entries, channel=None):
    return "".join(
        entry["payload"]["text"]
        for entry in entries
        if entry["type"] == "message.delta"
        and (channel is None or entry["payload"].get("channel", "stdout") == channel)
    )


def types_of(entries):
    """Deltas in a row count as one: a text is cut where it may be the beginning of a secret, and those are random."""
    types = [entry["type"] for entry in entries]
    return [kind for before, kind in pairwise(["", *types]) if not (kind == before and kind.endswith(".delta"))]


def is_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in {"Z", "X"}
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_until_gone(pid, timeout=10):
    """A process that is no child of ours ends; its pidfd tells when."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        assert select.select([pidfd], [], [], timeout)[0], f"process {pid} does not end"
    finally:
        os.close(pidfd)


def ended(pidfd):
    """Whether the process ends within 10 s."""
    try:
        return bool(select.select([pidfd], [], [], 10)[0])
    finally:
        os.close(pidfd)
