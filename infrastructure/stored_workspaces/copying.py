"""Copies a recorded sync to another prefix of the object store, by the store's own copy operation."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Event

from application.ports.object_store import ObjectMissing, ObjectStore
from application.ports.workspace_copier import CopiedWorkspace, WorkspaceGone
from domain.errors import StoredWorkspaceUnreadable
from domain.workspace.sync import SyncRef
from infrastructure.object_store.parallel import run_in_parallel
from infrastructure.stored_workspaces.object_layout import content_key
from infrastructure.stored_workspaces.recorded_sync import load_recorded_sync

LARGEST_COPY = 4 * 1024**3
"""S3 copies at most 5 GiB in one call; larger objects are read and uploaded in parts."""
_PART_BYTES = 64 * 1024 * 1024
MOST_PARTS = 10_000
"""Of a multipart upload: the parts of a larger object are larger."""
_AT_ONCE = 8
_COPIES = 2
"""Syncs copied at the same time, each with _AT_ONCE threads; not in the default pool, which large copies would
block."""


class S3WorkspaceCopier:
    """Implements WorkspaceCopier. A copy can be cancelled at any time and repeated: the manifest is written last, and
    content that is there already is not copied again. Hashes are verified by the restore, not here."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._copies = ThreadPoolExecutor(_COPIES, thread_name_prefix="fork-copy")

    async def copy(self, source: SyncRef, target: SyncRef) -> CopiedWorkspace:
        """Raises WorkspaceGone, and what the object store raises. When cancelled, its threads end after the object that
        they copy."""
        ended = Event()
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._copies, self._copy, source, target, ended)
        finally:
            ended.set()

    def _copy(self, source: SyncRef, target: SyncRef, ended: Event) -> CopiedWorkspace:
        here, there = _prefix(source), _prefix(target)
        try:
            manifest, body = load_recorded_sync(self._store, source)
        except StoredWorkspaceUnreadable as error:
            raise WorkspaceGone(str(error)) from error
        files = [entry for entry in manifest.entries if entry.kind == "file"]
        sizes: dict[str, int] = {}
        for entry in files:
            key = content_key(here, entry)
            sizes[key] = max(sizes.get(key, 0), entry.offset + entry.stored_size)
        copied = {
            item.key for folder in ("objects", "packs") for item in self._store.list_objects(f"{there}/{folder}/")
        }
        moves = {key: there + key[len(here) :] for key in sizes}
        missing = {key: target_key for key, target_key in moves.items() if target_key not in copied}
        try:
            with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="fork") as pool:
                run_in_parallel(pool, [partial(self._move, key, to, sizes[key], ended) for key, to in missing.items()])
        except ObjectMissing as error:
            raise WorkspaceGone(f"the origin's recorded content is gone: {error}") from error
        _raise_if_cancelled(ended)
        self._store.put(target.manifest_key, body)
        return CopiedWorkspace(files=len(files), contents=len(sizes), bytes=sum(entry.size for entry in files))

    def _move(self, source: str, target: str, size: int, ended: Event) -> None:
        _raise_if_cancelled(ended)
        if size <= LARGEST_COPY:
            self._store.copy(source, target)
        else:
            self._store.put_parts(target, self._parts(source, size, ended))

    def _parts(self, key: str, size: int, ended: Event) -> Iterator[bytes]:
        part = max(_PART_BYTES, -(-size // MOST_PARTS))
        for start in range(0, size, part):
            _raise_if_cancelled(ended)
            yield self._store.get(key, start=start, length=min(part, size - start))


class _Cancelled(Exception):
    """The caller of `copy` was cancelled."""


def _raise_if_cancelled(ended: Event) -> None:
    if ended.is_set():
        raise _Cancelled


def _prefix(sync: SyncRef) -> str:
    return sync.manifest_key.rpartition("/manifests/")[0]
