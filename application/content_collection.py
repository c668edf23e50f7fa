"""Which sessions' workspaces are due for a collection of what nothing names, and who deletes it."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Protocol

import msgspec

from application.aggregates import Clock
from application.command_context import CommandContext
from application.session_commands import Sessions
from domain.errors import DomainError
from domain.session.commands import RequestCollection
from domain.workspace.sync import SyncRef

COLLECT_AGAIN_AFTER = timedelta(days=1)


class Collected(msgspec.Struct, frozen=True, kw_only=True):
    """What was deleted; `bytes` of manifests and contents. `more`: the bound of a round was reached."""

    manifests: int = 0
    contents: int = 0
    bytes: int = 0
    more: bool = False


class ContentCollector(Protocol):
    async def collect(self, workspace_prefix: str, kept: Sequence[SyncRef]) -> Collected:
        """Delete what lies below the prefix and is named by none of the syncs, but nothing young. A kept sync that
        can't be read stops it before anything is deleted. May be broken off at any moment, and done again."""
        ...


class CollectionCandidates(Protocol):
    """Session ids from the read models; each one's own stream decides."""

    async def to_collect(self, *, now: datetime, retention: timedelta, again_after: timedelta, limit: int) -> list[str]:
        """Sessions that have a sync, whose last collection (or, before the first, their creation and the retention) is
        longer ago than `again_after`, and that may have got something to collect since."""
        ...


class RequestCollections:
    """Asks for the collections that are due; effects perform them."""

    def __init__(
        self, *, sessions: Sessions, candidates: CollectionCandidates, clock: Clock, retention: timedelta
    ) -> None:
        self._sessions, self._candidates = sessions, candidates
        self._clock, self._retention = clock, retention

    async def request_due(self, limit: int, context: CommandContext) -> tuple[list[str], list[str]]:
        """At most `limit`. The sessions that were due, and those of them that refused."""
        now = self._clock()
        found = await self._candidates.to_collect(
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
