"""The checks of `/ready`: whether each part works that the control plane needs. They implement ReadinessCheck."""

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from contextlib import suppress
from pathlib import Path

from application.outages import is_model
from application.ports.object_store import ObjectMissing, ObjectStore
from application.ports.process_manager_records import ProcessManagerRecords
from application.ports.user_projections import UserProjectionRecords, UserProjectionStatus
from application.ports.worker_processes import WorkerProcesses
from infrastructure.embedded.free_disk import check_free_disk
from infrastructure.operations.stopped_consumers import stopped_process_manager, stopped_projection
from infrastructure.postgres.continuity import LogContinuity
from infrastructure.postgres.event_store.store import GroupCommitEventStore
from infrastructure.postgres.listener import PositionSignal
from infrastructure.streams.hub import StreamHub
from projections.ports import ProjectionAdministration

USERS_TIMEOUT_S = 3.0
MAX_NAMED = 20


class PostgresReadiness:
    name = "postgres"

    def __init__(self, server_version: Callable[[], Awaitable[str]]) -> None:
        self._server_version = server_version

    async def check(self) -> str:
        return f"Postgres {await self._server_version()}"


class LogReadiness:
    """Ready while the log continues what this process has seen of it, unless the last append failed a moment ago. Reads
    may work where no append does: on a full disk."""

    name = "log"

    def __init__(self, store: GroupCommitEventStore, continuity: LogContinuity, position: PositionSignal) -> None:
        self._store, self._continuity, self._position = store, continuity, position

    async def check(self) -> str:
        self._continuity.require_unbroken()
        if failure := self._store.append_failure:
            raise RuntimeError(failure)
        return f"appends are written; the last position is {self._position.last_position}"


class DiskReadiness:
    """Ready while the disk of FLEETLOG_HOME has room."""

    name = "disk"

    def __init__(self, home: Path) -> None:
        self._home = home

    async def check(self) -> str:
        free = await asyncio.to_thread(check_free_disk, self._home)
        return f"{free / 1024**3:.1f} GiB free"


class ObjectStoreReadiness:
    """Asks the store once at a time: while an answer is awaited, further checks await it too, those that come after
    the first has given up included. `threads`: where it asks; by default in the event loop's."""

    name = "object store"

    def __init__(self, store: ObjectStore, threads: Executor | None = None) -> None:
        self._store, self._threads = store, threads
        self._asked: asyncio.Future[object] | None = None

    async def check(self) -> str:
        if self._asked is None or self._asked.done():
            loop = asyncio.get_running_loop()
            self._asked = loop.run_in_executor(self._threads, check_bucket, self._store)
        await asyncio.shield(self._asked)
        return self._store.address


def check_bucket(store: ObjectStore) -> None:
    """Raises ObjectStoreError if the bucket can't be read, or does not exist. A `head` would not tell: the answer to it
    has no body, and says of a missing bucket what it says of a missing object."""
    with suppress(ObjectMissing):
        store.get("readiness", length=1)


class ProjectionsReadiness:
    """Ready while no projection is stopped by an event that it can't apply."""

    name = "projections"

    def __init__(self, administration: ProjectionAdministration) -> None:
        self._administration = administration

    async def check(self) -> str:
        statuses = await self._administration.status()
        if stopped := stopped_projection(statuses):
            raise RuntimeError(f"{stopped.detail}; {stopped.mend}")
        behind = max((status.lag_events for status in statuses), default=0)
        return f"{len(statuses)} projections, {behind} events behind"


class UserProjectionsReadiness:
    """Shows users' own projections, and is always ready: their failures are for their users to mend."""

    name = "user projections"

    def __init__(self, records: UserProjectionRecords) -> None:
        self._records = records

    async def check(self) -> str:
        try:
            async with asyncio.timeout(USERS_TIMEOUT_S):
                statuses = await self._records.status()
        except Exception as error:  # noqa: BLE001  another check tells of the database
            return f"unknown: {type(error).__name__}"
        return ", ".join(f"{each.projection} {_state_of(each)}" for each in statuses[:MAX_NAMED]) or "none"


def _state_of(status: UserProjectionStatus) -> str:
    if status.status == "stopped":
        return f"is stopped at position {status.error_position}"
    return f"is {status.status}, {status.lag_text} behind"


class ProcessManagersReadiness:
    """Ready while no process manager is stopped by an event that it can't take."""

    name = "process managers"

    def __init__(self, records: ProcessManagerRecords) -> None:
        self._records = records

    async def check(self) -> str:
        statuses = await self._records.status()
        if stopped := stopped_process_manager(statuses):
            raise RuntimeError(f"{stopped.detail}; {stopped.mend}")
        behind = max((status.lag_events for status in statuses), default=0)
        return f"{len(statuses)} process managers, {behind} events behind"


class WorkersReadiness:
    """Ready while a process works: without one, everything that is asked for stays undone. `here`: this one does."""

    name = "workers"

    def __init__(self, processes: WorkerProcesses, *, here: bool) -> None:
        self._processes, self._here = processes, here

    async def check(self) -> str:
        alive = len(await self._processes.alive())
        if not alive and not self._here:
            raise RuntimeError("no process works: start `fleetlog worker`, or see why it has ended")
        return f"{max(alive, 1)} alive"


class OutageReadiness:
    """Ready unless each working process finds this dependency down: what one alone can't reach, others do the work
    for."""

    def __init__(self, name: str, processes: WorkerProcesses) -> None:
        self.name, self._processes = name, processes

    async def check(self) -> str:
        alive = await self._processes.alive()
        found = [down[self.name] for down in alive if self.name in down]
        if not found:
            return "nobody finds it down"
        said = f"down for {len(found)} of {len(alive)} working processes: {found[0]}"
        if len(found) == len(alive):
            raise RuntimeError(said)
        return said


class ModelsReadiness:
    """Shows which providers' models are down, and is always ready: runs that need them wait, all else works."""

    name = "models"

    def __init__(self, processes: WorkerProcesses) -> None:
        self._processes = processes

    async def check(self) -> str:
        found = {name: why for down in await self._processes.alive() for name, why in down.items() if is_model(name)}
        said = [f"the {name} is down: {why}" for name, why in sorted(found.items())[:MAX_NAMED]]
        return "; ".join(said) or "nobody finds one down"


class EgressReadiness:
    """Ready while what session workers may reach is limited as the settings say. `check_now` puts the rules in force
    again if they are gone, and raises when they can't be."""

    name = "egress"

    def __init__(self, check_now: Callable[[], Awaitable[str]]) -> None:
        self._check_now = check_now

    async def check(self) -> str:
        return await self._check_now()


class StreamsReadiness:
    name = "streams"

    def __init__(self, hub: StreamHub) -> None:
        self._hub = hub

    async def check(self) -> str:
        if not self._hub.healthy:
            raise RuntimeError("the end of the log can't be followed")
        return f"{self._hub.open_streams} open"
