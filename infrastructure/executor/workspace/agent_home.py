"""The agents' home folder. The folders in which CLIs keep their state, such as `~/.codex`, are symlinks into the
workspace's agent data, and the environment of an agent points there too, so that this state is synced with the
workspace."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from application.executor_protocol import LinkResult
from application.ports.provider_descriptions import CliFiles
from infrastructure.executor.workspace.confined import ConfinedTree

_PASSED_ON = ("PATH", "LANG", "LC_ALL", "LC_CTYPE", "TERM", "TZ", "SSL_CERT_FILE", "SSL_CERT_DIR")
_DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class AgentHome:
    """One home folder; made with mode 0700 if it is missing."""

    def __init__(self, home_dir: Path, workspace_dir: Path, cli_files: CliFiles) -> None:
        self._home = home_dir
        self._workspace = workspace_dir
        self._cli_files = cli_files
        home_dir.mkdir(parents=True, exist_ok=True, mode=0o700)

    def link(self, tree: ConfinedTree, agent_data: str) -> LinkResult:
        """Make the agents' folders below the workspace path `agent_data`, and the symlinks to them. The content of a
        real folder in the home is moved there first; where a file of that name with other content exists, the moved one
        is called `{name}.from-home`."""
        linked: list[str] = []
        migrated: list[str] = []
        for dotted, name in self._cli_files.links.items():
            with tree.ensure_directory(f"{agent_data}/{name}", replace=True):
                pass
            target = self._workspace / agent_data / name
            link = self._home / dotted
            if link.is_symlink() and link.readlink() == target:
                linked.append(f"~/{dotted}")
                continue
            if link.is_symlink() or link.is_file():
                link.unlink()
            elif link.is_dir():
                _move_into(link, target)
                migrated.append(f"~/{dotted}")
            link.symlink_to(target)
            linked.append(f"~/{dotted}")
        return LinkResult(linked=tuple(linked), migrated=tuple(migrated))

    def environment(self, agent_data: str, executor_variables: Mapping[str, str]) -> dict[str, str]:
        """The environment of every agent, without what its run adds; of `executor_variables` only PATH, locale, TERM,
        TZ and certificates are passed on."""
        data = self._workspace / agent_data
        passed_on = {name: executor_variables[name] for name in _PASSED_ON if name in executor_variables}
        return {
            "PATH": _DEFAULT_PATH,
            "LANG": "C.UTF-8",
            "TERM": "dumb",
            **passed_on,
            "HOME": str(self._home),
            **{name: str(data / folder) for name, folder in self._cli_files.environment.items()},
            "XDG_CACHE_HOME": str(self._home / ".cache"),
            "FLEETLOG_WORKSPACE": str(self._workspace),
        }


def _move_into(source: Path, target: Path) -> None:
    for child in list(source.iterdir()):
        place = target / child.name
        both_folders = child.is_dir() and not child.is_symlink() and place.is_dir() and not place.is_symlink()
        if both_folders:
            _move_into(child, place)
        elif not os.path.lexists(place):
            shutil.move(child, place)
        elif not (child.is_file() and place.is_file() and child.read_bytes() == place.read_bytes()):
            shutil.move(child, target / f"{child.name}.from-home")
        else:
            child.unlink()
    source.rmdir()
