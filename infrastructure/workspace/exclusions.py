"""What a sync leaves out, and why.

- Root `.claude`, `.codex`, `.opencode`: a symlink is left out. In a real folder only what the CLIs write as their
  state is (the names below), so that a project's own committed settings, commands, skills and agents in it are kept.
- `.kb` and read-only mount points: they come from their own layers again.
- Credential files anywhere below the agents' data: never.
- The executor's own half-written files.
"""

import fnmatch
import re
from collections.abc import Mapping

import msgspec

from domain.workspace.paths import AGENT_HOMES, CREDENTIAL_FILES
from infrastructure.workspace.layering import covers

_CLI_STATE: Mapping[str, tuple[str, ...]] = {
    ".claude": (
        ".credentials.json", "projects", "todos", "statsig", "shell-snapshots", "history.jsonl", "session-env",
        "sessions", "file-history", "debug", "cache", "backups", "ide", "paste-cache", "telemetry",
        "stats-cache.json", "tasks",
    ),
    ".codex": (
        "auth.json", "sessions", "archived_sessions", "history.jsonl", "log", "logs", "shell_snapshots", "version.json",
        "models_cache.json", "installation_id", "tmp", "*.sqlite", "*.sqlite-wal", "*.sqlite-shm", "*.jsonl",
    ),
    ".opencode": (
        "auth.json", "storage", "log", "snapshot", "share", "state", "cache", "bin", "*.db", "*.db-wal", "*.db-shm",
    ),
}  # fmt: skip
_HALF_WRITTEN = re.compile(r"\.fleetlog-[0-9a-f]{16}\.part")


class Exclusions(msgspec.Struct, frozen=True, kw_only=True):
    """The rules for one workspace. `left_out` are read-only mount points, `agent_data` the agents' data, all
    relative."""

    left_out: tuple[str, ...] = ()
    agent_data: str = ".agent_data"

    def leaves_out(self, path: str, *, is_link: bool) -> bool:
        """Whether a path is left out, and with it all below it."""
        root, _, below = path.partition("/")
        if root == ".kb" or covers(self.left_out, path):
            return True
        if root in AGENT_HOMES:
            if below == "":
                return is_link
            name = below.partition("/")[0]
            if any(fnmatch.fnmatchcase(name, pattern) for pattern in _CLI_STATE[root]):
                return True
        name = path.rpartition("/")[2]
        if self.is_credential(path):
            return True
        return name.startswith(".fleetlog-") and _HALF_WRITTEN.fullmatch(name) is not None

    def is_credential(self, path: str) -> bool:
        """Whether a path is a credential file of an agent's CLI."""
        return path.rpartition("/")[2] in CREDENTIAL_FILES and covers((self.agent_data,), path)


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """A partial sync's patterns: a folder or file with all below it, or a glob over paths relative to the workspace.
    What is not selected stays in the manifest as the previous sync had it."""

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    @property
    def selects_all(self) -> bool:
        return not self.include and not self.exclude

    def selects(self, path: str) -> bool:
        if self.include and not _matches(self.include, path):
            return False
        return not _matches(self.exclude, path)


def _matches(patterns: tuple[str, ...], path: str) -> bool:
    return any(
        path == pattern or path.startswith(pattern.rstrip("/") + "/") or fnmatch.fnmatchcase(path, pattern)
        for pattern in (_relative(pattern) for pattern in patterns)
    )


def _relative(pattern: str) -> str:
    return pattern.removeprefix("/workspace").lstrip("/")
