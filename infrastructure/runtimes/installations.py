"""Which versions of the agents' CLIs are installed where agents run, found without starting a CLI."""

import asyncio
import re
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from application.ports.provider_descriptions import AgentCli, program_missing
from application.ports.providers import NEEDS_NO_CLI, Installation
from application.ports.worker_runtime import RuntimeUnavailable, StartFailed

LABEL_PREFIX = "fleetlog.cli."
_KEPT_S = 10.0
_PARENTS = 8
_VERSION = re.compile(r"\d+\.\d+\.\d+")


class ProgramsOnPath:
    """For the `process` runtime: the programs on its agents' PATH. A program's version is its npm package's."""

    def __init__(self, path: str) -> None:
        self._path = path

    async def of(self, cli: AgentCli) -> Installation:
        return await asyncio.to_thread(self._look, cli)

    def _look(self, cli: AgentCli) -> Installation:
        program = shutil.which(cli.program, path=self._path)
        return (
            Installation(version=_packaged_version(Path(program)))
            if program
            else Installation(missing=program_missing(cli))
        )


class ImageLabels:
    """For the `docker` runtime: labels of the image name the versions of its CLIs. `read` returns the labels, None if
    there is no such image; it blocks, and is called at most every 10 s."""

    def __init__(self, image: str, read: Callable[[], Mapping[str, str] | None]) -> None:
        self._image = image
        self._read = read
        self._asking = asyncio.Lock()
        self._known: tuple[float, Mapping[str, str] | None, str] | None = None

    async def of(self, cli: AgentCli) -> Installation:
        labels, trouble = await self._labels()
        if trouble:
            return Installation(unhealthy=trouble)
        if labels is None:
            return Installation(missing=f"there is no image {self._image}; script/worker-image builds it")
        version = labels.get(LABEL_PREFIX + cli.label, "")
        if not version:
            why = f"the image {self._image} has no {cli.program}; build it with script/worker-image, which installs it"
            return Installation(missing=why)
        return Installation(version=version)

    async def _labels(self) -> tuple[Mapping[str, str] | None, str]:
        async with self._asking:
            if self._known is None or time.monotonic() - self._known[0] > _KEPT_S:
                try:
                    labels, trouble = await asyncio.to_thread(self._read), ""
                except (RuntimeUnavailable, StartFailed) as error:
                    labels = None
                    trouble = f"{error}; see that the Docker daemon runs and that this installation may use it"
                self._known = (time.monotonic(), labels, trouble)
            return self._known[1], self._known[2]


class AssumedInstalled:
    """For a shared executor, run outside of Fleetlog: its CLIs can't be seen from here, and are assumed."""

    async def of(self, cli: AgentCli) -> Installation:  # noqa: ARG002  the same for all
        return NEEDS_NO_CLI


def _packaged_version(program: Path) -> str:
    for parent in list(program.resolve().parents)[:_PARENTS]:
        try:
            package = msgspec.json.decode((parent / "package.json").read_bytes())
        except (OSError, msgspec.DecodeError):
            continue
        found = _VERSION.match(str(package.get("version", ""))) if isinstance(package, dict) else None
        if found:
            return found.group()
    return ""
