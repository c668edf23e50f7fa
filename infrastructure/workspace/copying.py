"""Copies a recorded sync below another prefix of the object store, in the store itself."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Event

from application.forked_workspaces import CopiedWorkspace, WorkspaceGone
from domain.workspace.sync import SyncRef
from infrastructure.object_store.errors import ObjectMissing
from infrastructure.object_store.s3 import S3ObjectStore
from infrastructure.workspace.errors import RestoreFailed
from infrastructure.workspace.layers import load_recorded_sync
from infrastructure.workspace.object_layout import content_key
from infrastructure.workspace.parallel import run_all

LARGEST_COPY = 4 * 1024**3
"""S3 itself copies at most 5 GiB in one call; what is larger goes through us, in parts."""
_PART_BYTES = 64 * 1024 * 1024
_AT_ONCE = 8
_COPIES = 2
"""Copies at once; each has _AT_ONCE threads. They have threads of their own: others must not wait for large ones."""


class S3WorkspaceCopier:
    """Implements WorkspaceCopier. Safe to break off at any moment, and to do again. Content is not read on its way:
    whoever restores it verifies it by its hash."""

    def __init__(self, store: S3ObjectStore) -> None:
        self._store = store
        self._copies = ThreadPoolExecutor(_COPIES, thread_name_prefix="fork-copy")

    async def copy(self, source: SyncRef, target: SyncRef) -> CopiedWorkspace:
        """Raises WorkspaceGone, and what the object store raises. Ends soon after it is cancelled."""
        ended = Event()
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._copies, self._copy, source, target, ended)
        finally:
            ended.set()

    def _copy(self, source: SyncRef, target: SyncRef, ended: Event) -> CopiedWorkspace:
        here, there = _prefix(source), _prefix(target)
        try:
            recorded, body = load_recorded_sync(self._store, source)
        except RestoreFailed as error:
            raise WorkspaceGone(str(error)) from error
        files = [entry for entry in recorded.manifest.entries if entry.kind == "file"]
        sizes: dict[str, int] = {}
        for entry in files:
            key = content_key(here, entry)
            sizes[key] = max(sizes.get(key, 0), entry.offset + entry.size)
        copied = {
            item.key for folder in ("objects", "packs") for item in self._store.list_objects(f"{there}/{folder}/")
        }
        moves = {key: there + key[len(here) :] for key in sizes}
        missing = {key: target_key for key, target_key in moves.items() if target_key not in copied}
        try:
            with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="fork") as pool:
                run_all(pool, [partial(self._move, key, to, sizes[key], ended) for key, to in missing.items()])
        except ObjectMissing as error:
            raise WorkspaceGone(f"the origin's recorded content is gone: {error}") from error
        _check_wanted(ended)
        self._store.put(target.manifest_key, body)
        return CopiedWorkspace(files=len(files), contents=len(sizes), bytes=sum(entry.size for entry in files))

    def _move(self, source: str, target: str, size: int, ended: Event) -> None:
        _check_wanted(ended)
        if size <= LARGEST_COPY:
            self._store.copy(source, target)
        else:
            self._store.put_parts(target, self._parts(source, size, ended))

    def _parts(self, key: str, size: int, ended: Event) -> Iterator[bytes]:
        for start in range(0, size, _PART_BYTES):
            _check_wanted(ended)
            yield self._store.get(key, start=start, length=min(_PART_BYTES, size - start))


class _BrokenOff(Exception):
    """Nobody waits for this copy any more."""


def _check_wanted(ended: Event) -> None:
    if ended.is_set():
        raise _BrokenOff


def _prefix(sync: SyncRef) -> str:
    return sync.manifest_key.rpartition("/manifests/")[0]
