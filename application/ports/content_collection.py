"""Which sessions' content is due for a collection, and what deletes it."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Protocol

import msgspec

from domain.workspace.sync import SyncRef


class Collected(msgspec.Struct, frozen=True, kw_only=True):
    """What was deleted; `bytes` of manifests and contents. `more`: the bound of a round was reached."""

    manifests: int = 0
    contents: int = 0
    bytes: int = 0
    more: bool = False


class ContentCollector(Protocol):
    async def collect(self, workspace_prefix: str, kept: Sequence[SyncRef]) -> Collected:
        """Delete what lies below the prefix and is named by none of the syncs, but nothing young. A kept sync that
        can't be read stops it before anything is deleted. Can be interrupted at any time, and repeated."""
        ...


class CollectionCandidates(Protocol):
    """Session ids from the read models; each one's own stream decides."""

    async def sessions_to_collect(
        self, *, now: datetime, retention: timedelta, again_after: timedelta, limit: int
    ) -> list[str]:
        """Sessions that have a sync, whose last collection (or, before the first, their creation and the retention) is
        longer ago than `again_after`, and that may have got something to collect since."""
        ...
