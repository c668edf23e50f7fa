"""What a sync leaves out, and why.

- The CLIs' folders (such as `.claude`) in the workspace's root: a symlink is left out. Of a real folder only the names
  that the CLI writes as its state are left out, so that settings, commands, skills and agents that a project has
  committed there are synced.
- `.kb` and read-only mount points: a restore takes them from their own layers.
- Credential files anywhere below the agents' data: they must not be stored.
- Temporary files of the executor's own writes.
"""

import fnmatch
import re

import msgspec

from application.ports.provider_descriptions import CliFiles
from infrastructure.executor.workspace.layering import covers

_HALF_WRITTEN = re.compile(r"\.fleetlog-[0-9a-f]{16}\.part")


class Exclusions(msgspec.Struct, frozen=True, kw_only=True):
    """The rules for one workspace. `left_out` are read-only mount points, `agent_data` is the agents' data folder;
    paths are relative to the workspace. `cli_files` is what the CLIs of all providers keep."""

    left_out: tuple[str, ...] = ()
    agent_data: str = ".agent_data"
    cli_files: CliFiles

    def leaves_out(self, path: str, *, is_link: bool) -> bool:
        """Whether a path is left out, with all below it."""
        root, _, below = path.partition("/")
        if root == ".kb" or covers(self.left_out, path):
            return True
        if root in self.cli_files.links:
            if below == "":
                return is_link
            name = below.partition("/")[0]
            if any(fnmatch.fnmatchcase(name, pattern) for pattern in self.cli_files.state_names.get(root, ())):
                return True
        name = path.rpartition("/")[2]
        if self.is_credential(path):
            return True
        return name.startswith(".fleetlog-") and _HALF_WRITTEN.fullmatch(name) is not None

    def is_credential(self, path: str) -> bool:
        """Whether a path is a credential file of an agent's CLI."""
        return path.rpartition("/")[2] in self.cli_files.credential_files and covers((self.agent_data,), path)


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """A partial sync's patterns: each a file, a folder with all below it, or a glob, relative to the workspace (a
    leading `/workspace/` is ignored). What is not selected stays in the manifest as the previous sync had it."""

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
