"""The read side of one process: the read models, waiting for them, their projector and their administration."""

from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from infrastructure.eventstore.store import GroupCommitEventStore
from infrastructure.postgres.listener import PostgresListener
from infrastructure.postgres.sessions import open_pool
from infrastructure.projector.controls import ProjectionControls
from infrastructure.projector.projector import Projector
from infrastructure.readmodels.administration import PostgresProjectionAdministration
from infrastructure.readmodels.past_versions import BUILD_SETTINGS, PastVersions
from infrastructure.readmodels.progress import PostgresProjectionProgress
from infrastructure.readmodels.read_models import PostgresReadModels
from projections.ports import HousekeepingReads, ReadModels

POOL_SIZE = 8
PAST_POOL_SIZE = 3
QUESTIONS_PER_PAGE = 500


@dataclass(frozen=True, kw_only=True)
class ReadSide:
    models: PostgresReadModels
    progress: PostgresProjectionProgress
    administration: PostgresProjectionAdministration
    past: PastVersions
    projector: Projector
    candidates: "Candidates"
    questions: "ExpiredQuestions"


async def open_reads(
    dsn: str, store: GroupCommitEventStore, listener: PostgresListener, holder: str, stack: AsyncExitStack
) -> ReadSide:
    """Everything that must be closed is left to `stack`."""
    pool = await open_pool(dsn, size=POOL_SIZE)
    stack.push_async_callback(pool.close)
    past = PastVersions(await _build_pool(dsn, stack), ProjectionControls(store))
    stack.push_async_callback(past.close)
    models = PostgresReadModels(pool, past)
    return ReadSide(
        models=models,
        progress=await stack.enter_async_context(PostgresProjectionProgress(pool, listener)),
        administration=PostgresProjectionAdministration(pool, store),
        past=past,
        projector=Projector(dsn, store=store, end_of_log=listener.position, holder=holder),
        candidates=Candidates(models),
        questions=ExpiredQuestions(models),
    )


async def _build_pool(dsn: str, stack: AsyncExitStack) -> AsyncConnectionPool[AsyncConnection[Any]]:
    pool = await open_pool(dsn, size=PAST_POOL_SIZE, **BUILD_SETTINGS)
    stack.push_async_callback(pool.close)
    return pool


class Candidates:
    """The application's HousekeepingCandidates on the read models."""

    def __init__(self, reads: HousekeepingReads) -> None:
        self._reads = reads

    async def idle(self, active_before: datetime, limit: int) -> list[str]:
        return await self._reads.idle_workers(idle_before=active_before, limit=limit)

    async def stopped(self, stopped_before: datetime, limit: int) -> list[str]:
        return await self._reads.stopped_workers(stopped_before=stopped_before, limit=limit)

    async def stale_syncs(self, synced_before: datetime, limit: int) -> list[str]:
        return await self._reads.unsynced_workers(synced_before=synced_before, limit=limit)

    async def to_collect(self, *, now: datetime, retention: timedelta, again_after: timedelta, limit: int) -> list[str]:
        return await self._reads.sessions_to_collect(now=now, retention=retention, again_after=again_after, limit=limit)


class ExpiredQuestions:
    """The application's OpenQuestions on the read models."""

    def __init__(self, reads: ReadModels) -> None:
        self._reads = reads

    async def expired(self, now: datetime, limit: int) -> list[tuple[str, str]]:
        over: list[tuple[str, str]] = []
        cursor: str | None = None
        while True:
            # Newest first: those whose time is over are mostly on the last page.
            page = await self._reads.human_loop_requests(statuses=("open",), limit=QUESTIONS_PER_PAGE, cursor=cursor)
            over += [
                (request.run_id, request.question_id)
                for request in page.requests
                if request.expires_at is not None and request.expires_at <= now
            ]
            cursor = page.next_cursor
            if cursor is None or len(over) >= limit:
                return over[:limit]
