"""The checks of `/ready`: whether each part works that the control plane needs. They implement ReadinessCheck."""

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor

from application.ports.object_store import ObjectStore
from application.ports.process_manager_records import ProcessManagerRecords
from application.ports.user_projections import UserProjectionRecords, UserProjectionStatus
from infrastructure.operations.stopped_consumers import stopped_process_manager, stopped_projection
from infrastructure.postgres.continuity import LogContinuity
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
    """Ready while the log continues what this process has seen of it."""

    name = "log"

    def __init__(self, continuity: LogContinuity, position: PositionSignal) -> None:
        self._continuity, self._position = continuity, position

    async def check(self) -> str:
        self._continuity.require_unbroken()
        return f"ends at position {self._position.last_position}"


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
            self._asked = loop.run_in_executor(self._threads, self._store.head, "readiness")
        await asyncio.shield(self._asked)
        return self._store.address


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


class StreamsReadiness:
    name = "streams"

    def __init__(self, hub: StreamHub) -> None:
        self._hub = hub

    async def check(self) -> str:
        if not self._hub.healthy:
            raise RuntimeError("the end of the log can't be followed")
        return f"{self._hub.open_streams} open"
