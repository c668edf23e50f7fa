"""An executor for all sessions, as another program may run one: a router, and behind it a real executor process for
each session and generation that it is called for, which it knows by the trace headers of each call."""

import asyncio
import json
import os
import re
import subprocess
import sys
from pathlib import Path

from infrastructure.embedded.object_store import ObjectStoreAccess
from tests.support.fault_proxy import FaultProxy
from tests.support.fleetlog_server import REPOSITORY

TOKEN = "the token of the shared executor"
START_TIMEOUT_S = 180


class SharedExecutorRouter(FaultProxy):
    """Its own `/health` names no session. `served` are the names of the workers that it was called for."""

    def __init__(self, folder: Path, store: ObjectStoreAccess) -> None:
        super().__init__()
        self._folder, self._store = folder, store
        self._ports: dict[str, asyncio.Task[int]] = {}
        self._processes: list[subprocess.Popen[bytes]] = []

    def __exit__(self, *details: object) -> None:
        super().__exit__(*details)
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.wait(START_TIMEOUT_S)

    @property
    def served(self) -> set[str]:
        return set(self._ports)

    def workspace(self, name: str) -> Path:
        return self._folder / name / "workspace"

    async def where(self, path: str, head: str) -> tuple[str, int]:
        name, session_id = _header(head, "x-trace-executor-id"), _header(head, "x-trace-session-id")
        if name not in self._ports:
            self._ports[name] = asyncio.create_task(self._started(name, session_id))
        return "127.0.0.1", await self._ports[name]

    async def _started(self, name: str, session_id: str) -> int:
        folder = self._folder / name
        folder.mkdir(parents=True)
        config = {
            "sessionId": session_id,
            "generation": int(name.rpartition("-g")[2]),
            "containerId": name,
            "token": TOKEN,
            "workspaceDir": str(folder / "workspace"),
            "homeDir": str(folder / "home"),
            "stateDir": str(folder / "state"),
            "s3Endpoint": self._store.endpoint,
            "s3Bucket": self._store.bucket,
            "s3Region": self._store.region,
            "s3AccessKey": self._store.access_key_id,
            "s3SecretKey": self._store.secret_access_key,
            "idleExitS": 0,
        }
        file = folder / "executor.json"
        file.touch(mode=0o600)
        file.write_text(json.dumps(config))
        with (self._folder / "log").open("ab") as log:
            process = subprocess.Popen(  # noqa: ASYNC220  it forks and returns
                [sys.executable, "-m", "interfaces.executor", "--config", str(file)],
                cwd=REPOSITORY,
                stderr=log,
                env={"PATH": os.environ["PATH"], "HOME": str(folder)},
            )
        self._processes.append(process)
        endpoint = folder / "state/endpoint.json"
        async with asyncio.timeout(START_TIMEOUT_S):
            while not endpoint.exists():
                assert process.poll() is None, (self._folder / "log").read_text()
                await asyncio.sleep(0.02)
        return int(json.loads(endpoint.read_text())["url"].rpartition(":")[2])


def health() -> bytes:
    return json.dumps({"ok": True, "protocolVersion": 1, "bootId": "the only one"}).encode()


def _header(head: str, name: str) -> str:
    found = re.search(rf"(?im)^{name}: *(.*?)\r$", head)
    assert found, f"a call without {name}"
    return found[1]
