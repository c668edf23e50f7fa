"""Where agents work: a folder of this machine or a container. What the proofs look at and do there."""

import os
import signal
from pathlib import Path
from typing import Protocol

from tests.support.docker_containers import docker
from tests.support.fleetlog_server import FleetlogServer

CLIS = ("claude", "codex", "opencode")


class AgentEnvironment(Protocol):
    def folder(self, server: FleetlogServer, session_id: str) -> str:
        """The workspace as the agent sees it."""
        ...

    def read(self, server: FleetlogServer, session_id: str, name: str) -> str | None:
        """A file of the workspace; None when there is none."""
        ...

    def agents(self, server: FleetlogServer, session_id: str) -> list[int]:
        """The processes that work in the workspace: an agent's CLI and what it started."""
        ...

    def kill_agents(self, server: FleetlogServer, session_id: str) -> None:
        """SIGKILL for the CLI alone; its session's executor lives on."""
        ...

    def files_with(self, server: FleetlogServer, session_id: str, needle: str) -> list[str]:
        """The files of the whole worker (workspace, home, journals, log) that hold a text."""
        ...

    def is_there(self, server: FleetlogServer, session_id: str) -> bool:
        """Whether the session has a worker, running or not."""
        ...


class OnThisMachine:
    """The `process` runtime."""

    def folder(self, server: FleetlogServer, session_id: str) -> str:
        return str(server.worker_folder(session_id) / "workspace")

    def read(self, server: FleetlogServer, session_id: str, name: str) -> str | None:
        file = Path(self.folder(server, session_id)) / name
        return file.read_text() if file.exists() else None

    def agents(self, server: FleetlogServer, session_id: str) -> list[int]:
        folder = Path(self.folder(server, session_id))
        return [pid for pid in _living() if _works_in(pid, folder)]

    def kill_agents(self, server: FleetlogServer, session_id: str) -> None:
        for pid in self.agents(server, session_id):
            os.kill(pid, signal.SIGKILL)

    def files_with(self, server: FleetlogServer, session_id: str, needle: str) -> list[str]:
        return files_with(needle, server.worker_folder(session_id))

    def is_there(self, server: FleetlogServer, session_id: str) -> bool:
        worker = server.ok("GET", f"/api/session-workers/{session_id}")
        return bool(worker["containerId"]) and (server.home / "workers" / worker["containerId"]).exists()


class InContainers:
    """The `docker` runtime."""

    def folder(self, server: FleetlogServer, session_id: str) -> str:
        return "/workspace"

    def read(self, server: FleetlogServer, session_id: str, name: str) -> str | None:
        found = self._shell(server, session_id, 'test -e "$1" && cat "$1" || echo "(missing)"', f"/workspace/{name}")
        return None if found == "(missing)" else found

    def agents(self, server: FleetlogServer, session_id: str) -> list[int]:
        found = self._shell(
            server,
            session_id,
            'for process in /proc/[0-9]*; do [ "$(readlink $process/cwd)" = /workspace ] && '
            '! grep -q "interfaces.executor\\|tini" $process/cmdline && echo ${process#/proc/}; done; true',
            user="1000",
        )
        return [int(pid) for pid in found.split()]

    def kill_agents(self, server: FleetlogServer, session_id: str) -> None:
        self._shell(server, session_id, f"pkill -KILL '^({'|'.join(CLIS)})'")

    def files_with(self, server: FleetlogServer, session_id: str, needle: str) -> list[str]:
        places = "/workspace /home/agent /var/lib/fleetlog /tmp"
        return self._shell(server, session_id, f'grep -rlF -- "$1" {places} || true', needle).split()

    def is_there(self, server: FleetlogServer, session_id: str) -> bool:
        worker = server.ok("GET", f"/api/session-workers/{session_id}")
        return bool(docker("ps", "-aq", "--filter", f"id={worker['containerId']}"))

    def _shell(self, server: FleetlogServer, session_id: str, script: str, *arguments: str, user: str = "0") -> str:
        container = server.ok("GET", f"/api/session-workers/{session_id}")["containerId"]
        return docker("exec", "--user", user, "--workdir", "/", str(container), "sh", "-c", script, "sh", *arguments)


def files_with(needle: str, folder: Path) -> list[str]:
    """The files below a folder that hold a text, in their content or their name."""

    def has(path: Path) -> bool:
        return needle in path.name or (
            path.is_file() and not path.is_symlink() and needle.encode() in path.read_bytes()
        )

    return [str(path.relative_to(folder)) for path in folder.rglob("*") if has(path)]


def _living() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").glob("[0-9]*")]


def _works_in(pid: int, folder: Path) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        return state not in {"Z", "X"} and Path(f"/proc/{pid}/cwd").readlink() == folder
    except OSError:
        return False
