"""The engine that keeps the containers of session workers."""

from datetime import datetime
from typing import Literal, Protocol

import msgspec

from domain.workspace.storage import StorageScope


class ContainerInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A container as its runtime sees it. `exit_log`: the end of the output of one that has exited."""

    container_id: str
    runtime: str
    daemon_id: str
    status: Literal["created", "running", "exited"]
    url: str = ""
    exit_log: str = ""


class ContainerSpec(msgspec.Struct, frozen=True, kw_only=True):
    """`storage`: what of the object store its executor may use."""

    session_id: str
    generation: int
    token: str
    storage: StorageScope | None = None


class OwnContainer(msgspec.Struct, frozen=True, kw_only=True):
    """A container of this installation, as its runtime lists it."""

    container_id: str
    session_id: str
    generation: int
    status: Literal["created", "running", "exited"]
    created_at: datetime


class OversizedContainer(msgspec.Struct, frozen=True, kw_only=True):
    """A container that has written more than it may."""

    session_id: str
    generation: int
    used_bytes: int
    limit_bytes: int


class RuntimeUnavailable(Exception):
    """The runtime's daemon can't be reached, or it is another one than recorded: an error, never "gone"."""


class RuntimeDown(RuntimeUnavailable):
    """The runtime's daemon can't be reached at all: every other call would fail, too."""


class WorkerRuntime(Protocol):
    """Makes, starts and ends the containers of session workers. All calls are idempotent by session and generation."""

    name: str

    async def create(self, spec: ContainerSpec) -> ContainerInfo: ...

    async def start(self, spec: ContainerSpec, container_id: str, *, maintenance: bool = False) -> ContainerInfo:
        """Start it, or find it running (in the same mode), and wait until its executor answers /health. Raises
        ContainerGone when there is none, StartFailed with the log's end when it dies."""
        ...

    async def stop(self, spec: ContainerSpec, container_id: str) -> None: ...

    async def remove(self, spec: ContainerSpec, container_id: str) -> None: ...

    async def inspect(self, spec: ContainerSpec, container_id: str, daemon_id: str) -> ContainerInfo | None:
        """None only when the daemon `daemon_id` itself says that there is none. Raises RuntimeUnavailable when that
        can't be asked."""
        ...

    async def own_containers(self) -> list[OwnContainer]:
        """All containers of this installation, also those that no session names; never those of another one."""
        ...

    async def oversized(self) -> list[OversizedContainer]:
        """The running ones of this installation, where nothing else keeps them from writing more. May take long, and
        looks at some of them only; those that it did not come to are first the next time."""
        ...


class OwnedWorkerRuntime(WorkerRuntime, Protocol):
    """A runtime as the process that has opened it sees it."""

    async def check(self) -> None:
        """Raises RuntimeDown if its daemon can't be reached."""

    async def prepare(self) -> None:
        """Check, before the first container, that what the settings ask for can be had here."""
        ...

    async def egress(self) -> str:
        """What its workers may reach, and that this holds now; for people. Raises RuntimeUnavailable."""
        ...

    async def shutdown(self) -> None:
        """End the executors that end with this process, with their runs."""
        ...

    async def end_idle(self) -> None:
        """End those of them that have no run; the others go on and are adopted by the next start."""
        ...

    def close(self) -> None:
        """Give threads and connections back. Containers stay as they are."""
        ...


class ContainerGone(Exception):
    """The daemon that created the container says that it has none of this id."""


class StartFailed(Exception):
    """The container died or never answered, and the message holds the end of its log; or it can't be configured."""
