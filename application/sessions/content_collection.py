"""Requests the collection of content that no kept sync names."""

from datetime import timedelta

from application.aggregates.aggregates import Clock
from application.command_context import CommandContext
from application.ports.content_collection import CollectionCandidates
from application.sessions.commands import Sessions
from domain.errors import DomainError
from domain.session.commands import RequestCollection

COLLECT_AGAIN_AFTER = timedelta(days=1)


class RequestCollections:
    """Requests the collections that are due; an effect performs each."""

    def __init__(
        self, *, sessions: Sessions, candidates: CollectionCandidates, clock: Clock, retention: timedelta
    ) -> None:
        self._sessions, self._candidates = sessions, candidates
        self._clock, self._retention = clock, retention

    async def request_due(self, limit: int, context: CommandContext) -> tuple[list[str], list[str]]:
        """Request at most `limit`. The ids of the sessions that were due, and of those among them that refused."""
        now = self._clock()
        found = await self._candidates.sessions_to_collect(
            now=now, retention=self._retention, again_after=min(self._retention, COLLECT_AGAIN_AFTER), limit=limit
        )
        refused: list[str] = []
        for session_id in found:
            item = context.caused_by(context.command_id, f"{context.command_id}/{session_id}")
            command = RequestCollection(collection_id=item.command_id, kept_since=now - self._retention)
            try:
                await self._sessions.handle(session_id, command, item)
            except DomainError:
                refused.append(session_id)
        return found, refused
