"""Everything around the projector for tests; run as a program, it is a process that projects until it is killed.

python -m tests.support.projecting DSN PAGE_POSITIONS     prints "projecting" once its projector runs
"""

import asyncio
import contextlib
import secrets
import sys
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from application.operations.consumer_control import ProjectionControl
from application.task_cancellation import cancel_and_wait
from domain.record import Metadata
from infrastructure.postgres.connections import Pool, open_pool
from infrastructure.postgres.event_store.store import GroupCommitEventStore
from infrastructure.postgres.listener import PostgresListener
from infrastructure.postgres.projector.projector import Projector
from infrastructure.postgres.read_models.administration import PostgresProjectionAdministration
from infrastructure.postgres.read_models.past_versions import BUILD_SETTINGS, PastVersions
from infrastructure.postgres.read_models.progress import PostgresProjectionProgress
from infrastructure.postgres.read_models.read_models import PostgresReadModels
from interfaces.bootstrap.reads import projection_control
from projections.catalogue import PROJECTIONS
from projections.ports import ProjectionStatus
from projections.projection import Projection

NAMES = [projection.name for projection in PROJECTIONS]
OPERATOR = Metadata(actor="operator", correlation_id="c")


@dataclass
class ProjectionHarness:
    dsn: str
    store: GroupCommitEventStore
    listener: PostgresListener
    pool: Pool
    progress: PostgresProjectionProgress
    reads: PostgresReadModels
    admin: PostgresProjectionAdministration
    control: ProjectionControl
    ends: dict[str, int] = field(default_factory=dict)

    @contextlib.asynccontextmanager
    async def projector(
        self, projections: Sequence[Projection[Any]] = PROJECTIONS, **settings: Any
    ) -> AsyncIterator[asyncio.Task[None]]:
        """A projector of this process; its failure fails the test."""
        projector = Projector(
            self.dsn, control=self.control, end_of_log=self.listener.position, projections=projections, **settings
        )
        task = asyncio.create_task(projector.run())
        try:
            yield task
        finally:
            await cancel_and_wait([task])
            if not task.cancelled():
                task.result()

    async def caught_up(self, position: int, names: Sequence[str] = tuple(NAMES), timeout: float = 90.0) -> None:
        """Waits until readers see everything up to the position."""
        for name in names:
            assert await self.progress.wait_for(name, position, timeout), f"{name}: {await self.admin.status()}"

    async def hashes(self) -> dict[str, tuple[int, str]]:
        return {name: await self.admin.content_hash(name) for name in NAMES}

    async def status(self, name: str) -> dict[int, ProjectionStatus]:
        """By version."""
        return {status.version: status for status in await self.admin.status() if status.projection == name}

    async def status_becomes(self, name: str, version: int, wanted: str, timeout: float = 90.0) -> ProjectionStatus:
        """Waits for a status, or a state, of a version; looked at every 10 ms."""
        async with asyncio.timeout(timeout):
            while True:
                found = (await self.status(name)).get(version)
                if found is not None and wanted in {found.status, found.state}:
                    return found
                await asyncio.sleep(0.01)

    async def rebuilt(self, names: Sequence[str] = tuple(NAMES)) -> None:
        """Rebuild and wait until readers see the new versions."""
        for name in names:
            version = await self.admin.rebuild(name, by=OPERATOR, command_id=secrets.token_hex(8))
            await self.status_becomes(name, version, "active")


@contextlib.asynccontextmanager
async def projection_harness(dsn: str) -> AsyncIterator[ProjectionHarness]:
    async with (
        GroupCommitEventStore(dsn) as store,
        PostgresListener(dsn) as listener,
        await open_pool(dsn, size=6) as pool,
        PostgresProjectionProgress(pool, listener) as progress,
        await open_pool(dsn, size=2, **BUILD_SETTINGS) as build_pool,
    ):
        control = projection_control(store)
        past = PastVersions(build_pool, control)
        yield ProjectionHarness(
            dsn,
            store,
            listener,
            pool,
            progress,
            PostgresReadModels(pool, past),
            PostgresProjectionAdministration(pool, control),
            control,
        )


async def project_until_killed(dsn: str, page_positions: int) -> None:
    async with (
        projection_harness(dsn) as harness,
        harness.projector(page_positions=page_positions, rebuild_page_positions=page_positions) as task,
    ):
        sys.stdout.write("projecting\n")
        sys.stdout.flush()
        await task


if __name__ == "__main__":
    asyncio.run(project_until_killed(sys.argv[1], int(sys.argv[2])))
