"""Deletes manifests and content below a workspace's prefix in the object store that no kept sync names.

Safe while a sync runs: what that sync names belongs to the recorded sync, which is kept, or was uploaded within the
last hour (REUSE_UNCERTAIN_S in infrastructure/executor/workspace/sync.py), and what is younger than a day stays.
Manifests are deleted before content, so a manifest that exists is complete. Plain keys and tool output are never
deleted here.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from datetime import UTC, datetime, timedelta

import msgspec

from application.ports.content_collection import Collected
from application.ports.object_store import ObjectInfo, ObjectStore
from domain.workspace.sync import SyncRef
from infrastructure.stored_workspaces.object_layout import content_key, is_ours
from infrastructure.stored_workspaces.recorded_sync import load_recorded_sync

GRACE = timedelta(days=1)
"""Objects younger than this stay, named or not."""
MOST_DELETED = 5000
"""Objects deleted in one round at most."""
_BATCH = 500


class S3ContentCollector:
    """Implements ContentCollector. Deletes at most `most` objects in one round. `threads`: where it calls the store; by
    default in the event loop's."""

    def __init__(
        self,
        store: ObjectStore,
        threads: Executor | None = None,
        *,
        clock: Callable[[], datetime],
        grace: timedelta = GRACE,
        most: int = MOST_DELETED,
    ) -> None:
        self._store, self._threads, self._clock = store, threads, clock
        self._grace, self._most = grace, most

    async def collect(self, workspace_prefix: str, kept: Sequence[SyncRef]) -> Collected:
        """One round; `more` in the result: another round has more to delete. Raises StoredWorkspaceUnreadable, before
        anything is deleted, for a kept sync that can't be read, and what the object store raises."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._collect, workspace_prefix, kept)

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
            manifest, _ = load_recorded_sync(self._store, sync)
            named.update(content_key(prefix, entry) for entry in manifest.entries if entry.kind == "file")
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
    """Whether the object was modified before that time; an unknown time counts as younger."""
    try:
        modified = datetime.fromisoformat(item.modified_at)
    except ValueError:
        return False
    return (modified if modified.tzinfo else modified.replace(tzinfo=UTC)) < before
