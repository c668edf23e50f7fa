"""Deletes what lies below a workspace's prefix in the object store and is named by no kept sync.

Safe beside a sync: one that is being made names only content of the sync on record, which is kept, and content that it
has sent lately (sync.py), which is young. Manifests go before what they name: one that is there is whole.
Plain keys and tool output, which the log names, are never looked at.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta

import msgspec

from application.content_collection import Collected
from domain.workspace.sync import SyncRef
from infrastructure.object_store.answers import ObjectInfo
from infrastructure.object_store.s3 import S3ObjectStore
from infrastructure.workspace.layers import load_recorded_sync
from infrastructure.workspace.object_layout import content_key, is_ours

GRACE = timedelta(days=1)
"""What is younger stays, whoever names it or not."""
MOST_DELETED = 5000
_BATCH = 500


class S3ContentCollector:
    """Implements ContentCollector. `most` objects at the most are deleted in one round."""

    def __init__(
        self, store: S3ObjectStore, *, clock: Callable[[], datetime], grace: timedelta = GRACE, most: int = MOST_DELETED
    ) -> None:
        self._store, self._clock = store, clock
        self._grace, self._most = grace, most

    async def collect(self, workspace_prefix: str, kept: Sequence[SyncRef]) -> Collected:
        """Raises RestoreFailed for a kept sync that can't be read, and what the object store raises."""
        return await asyncio.to_thread(self._collect, workspace_prefix, kept)

    def _collect(self, prefix: str, kept: Sequence[SyncRef]) -> Collected:
        before = self._clock() - self._grace
        named = self._named(prefix, kept)
        result = Collected()
        for folder in ("manifests", "objects", "packs"):
            unnamed = (
                item
                for item in self._store.list_objects(f"{prefix}/{folder}/")
                if item.key not in named and is_ours(item.key[len(prefix) + 1 :]) and _older(item, before)
            )
            result = self._deleted(result, unnamed, manifests=folder == "manifests")
            if result.more:
                break
        return result

    def _named(self, prefix: str, kept: Sequence[SyncRef]) -> set[str]:
        named: set[str] = set()
        for sync in kept:
            named.add(sync.manifest_key)
            recorded, _ = load_recorded_sync(self._store, sync)
            named.update(content_key(prefix, entry) for entry in recorded.manifest.entries if entry.kind == "file")
        return named

    def _deleted(self, so_far: Collected, unnamed: Iterator[ObjectInfo], *, manifests: bool) -> Collected:
        batch: list[ObjectInfo] = []
        for item in unnamed:
            batch.append(item)
            room = self._most - so_far.manifests - so_far.contents
            if len(batch) >= min(_BATCH, room):
                so_far = self._delete(so_far, batch, manifests=manifests)
                batch = []
                if so_far.manifests + so_far.contents >= self._most:
                    return msgspec.structs.replace(so_far, more=True)
        return self._delete(so_far, batch, manifests=manifests)

    def _delete(self, so_far: Collected, batch: list[ObjectInfo], *, manifests: bool) -> Collected:
        self._store.delete(item.key for item in batch)
        return msgspec.structs.replace(
            so_far,
            manifests=so_far.manifests + (len(batch) if manifests else 0),
            contents=so_far.contents + (0 if manifests else len(batch)),
            bytes=so_far.bytes + sum(item.size for item in batch),
        )


def _older(item: ObjectInfo, before: datetime) -> bool:
    """An object of unknown age is young."""
    try:
        modified = datetime.fromisoformat(item.modified_at)
    except ValueError:
        return False
    return (modified if modified.tzinfo else modified.replace(tzinfo=UTC)) < before
