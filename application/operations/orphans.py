"""Orphans: containers of this installation that no session names as its current one. Which are removed, which kept."""

import logging
from collections.abc import Sequence
from datetime import timedelta

import msgspec

from application.aggregates.aggregates import Clock
from application.aggregates.stream_pages import events_of
from application.command_context import CommandContext
from application.ports.event_store import EventStore
from application.ports.worker_runtime import ContainerSpec, OwnContainer, RuntimeUnavailable, WorkerRuntime
from application.repairs.kinds import ORPHAN_CONTAINER
from application.repairs.said import MOST_LINES, UNCOUNTED, Found, Repairs
from application.sessions.commands import Sessions
from domain.event import Event
from domain.identifiers import session_stream
from domain.session.commands import RecordOrphanRemoved
from domain.session.events import ContainerCreated, SessionActivated, SessionRemoving
from domain.session.state import Deleted, SessionWorker

log = logging.getLogger(__name__)
YOUNGEST = timedelta(minutes=10)
"""Younger containers are left alone: a container is recorded only after it was created."""


class OrphanCounts(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Of `found` orphans, `removed` held nothing; `kept` may hold work that never reached the object store."""

    found: int = 0
    removed: int = 0
    kept: int = 0
    failed: int = 0
    container_ids: tuple[str, ...] = ()


class CleanOrphans:
    """Safe to run in several processes at once."""

    def __init__(
        self,
        *,
        sessions: Sessions,
        store: EventStore,
        runtime: WorkerRuntime,
        clock: Clock,
        youngest: timedelta = YOUNGEST,
        repairs: Repairs = UNCOUNTED,
    ) -> None:
        self._repairs = repairs
        self._told: frozenset[str] = frozenset()
        self._sessions, self._store, self._runtime = sessions, store, runtime
        self._clock, self._youngest = clock, youngest

    async def clean(self, limit: int, context: CommandContext) -> OrphanCounts:
        """Look at every container of this installation; remove at most `limit` orphans. Raises RuntimeUnavailable."""
        removed, kept, failed = list[Found](), list[OwnContainer](), 0
        found: list[str] = []
        born_before = self._clock() - self._youngest
        try:
            for container in await self._runtime.own_containers():
                if container.created_at > born_before or len(removed) + failed == limit:
                    continue
                # Read after the listing: a container that was recorded meanwhile is seen as what it is.
                state = (await self._sessions.load(container.session_id)).state
                if is_current(state, container):
                    continue
                found.append(container.container_id)
                reason = await self._harmless(state, container)
                if not reason:
                    kept.append(container)
                    continue
                try:
                    await self._remove(state, container, reason, context)
                    removed.append(_removed(container, reason))
                except RuntimeUnavailable as error:
                    failed += 1
                    log.warning("orphan %s could not be removed: %s", container.container_id, error)
        finally:
            self._repairs.of_round(ORPHAN_CONTAINER, context, *removed)
        self._tell_of_kept(kept)
        return OrphanCounts(
            found=len(found), removed=len(removed), kept=len(kept), failed=failed, container_ids=tuple(found)
        )

    def _tell_of_kept(self, kept: Sequence[OwnContainer]) -> None:
        """Of those that were not there in the round before."""
        news = [each for each in kept if each.container_id not in self._told]
        self._told = frozenset(each.container_id for each in kept)
        for each in news[:MOST_LINES]:
            log.warning(
                "container %s is of generation %d of session %s, which no longer is its current one, and may hold "
                "work that is not synced: it is kept until a person has looked at it",
                each.container_id,
                each.generation,
                each.session_id,
                extra={"containerId": each.container_id, "sessionId": each.session_id},
            )
        if len(news) > MOST_LINES:
            log.warning("and %d more containers are kept until a person has looked at them", len(news) - MOST_LINES)

    async def _harmless(self, state: SessionWorker | None, container: OwnContainer) -> str:
        if container.status == "created":
            return "it was never started"
        if state is None or container.generation > state.generation:
            return ""
        history = events_of(self._store, session_stream(container.session_id))
        return why_harmless([each.event async for each in history if isinstance(each.event, _TELLING)], container)

    async def _remove(
        self, state: SessionWorker | None, container: OwnContainer, reason: str, context: CommandContext
    ) -> None:
        spec = ContainerSpec(session_id=container.session_id, generation=container.generation, token="")
        await self._runtime.remove(spec, container.container_id)
        if state is not None:
            command = RecordOrphanRemoved(
                of_generation=container.generation, container_id=container.container_id, detail=reason
            )
            step = context.caused_by(context.command_id, f"orphan/{container.container_id}")
            await self._sessions.handle(container.session_id, command, step)


def _removed(container: OwnContainer, reason: str) -> Found:
    about = {"generation": container.generation, "reason": reason}
    return Found(session_id=container.session_id, container_id=container.container_id, about=about)


def is_current(state: SessionWorker | None, container: OwnContainer) -> bool:
    """Whether the session's log names this container, or may soon: none of its generation is recorded yet."""
    if state is None or state.generation != container.generation or isinstance(state.lifecycle, Deleted):
        return False
    return state.container is None or state.container.container_id == container.container_id


_TELLING = (ContainerCreated, SessionRemoving, SessionActivated)


def why_harmless(history: list[Event], container: OwnContainer) -> str:
    """Why a started container holds nothing unsynced, by its session's log; empty when it may hold something."""
    of_generation = [event for event in history if getattr(event, "generation", 0) == container.generation]
    recorded = {event.container_id for event in of_generation if isinstance(event, ContainerCreated)}
    if recorded - {container.container_id}:
        return ""
    if any(isinstance(event, SessionRemoving) for event in of_generation):
        return "its workspace has passed the gate, and its removal was decided"
    if not any(isinstance(event, SessionActivated) for event in of_generation):
        return "it was never activated: no agent ran in it"
    return ""
