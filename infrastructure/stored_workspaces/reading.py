"""Reads recorded syncs from the object store for the control plane, without an executor."""

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import TypeVar

from application.ports.object_store import ObjectMissing, ObjectStore
from domain.errors import StoredWorkspaceUnreadable
from domain.workspace.sync import Extents, ManifestEntry, SyncRef
from infrastructure.stored_workspaces.object_layout import content_key
from infrastructure.stored_workspaces.recorded_sync import load_recorded_sync

Result = TypeVar("Result")


class S3RecordedWorkspaces:
    """Implements RecordedWorkspaces. Raises StoredWorkspaceUnreadable, and what the object store raises.
    `threads`: where it calls the store; by default in the event loop's."""

    def __init__(self, store: ObjectStore, threads: Executor | None = None) -> None:
        self._store, self._threads = store, threads

    async def entries(self, sync: SyncRef) -> Sequence[ManifestEntry]:
        manifest, _ = await self._in_thread(load_recorded_sync, self._store, sync)
        return manifest.entries

    async def content(self, workspace_prefix: str, entry: ManifestEntry) -> bytes:
        return await self._in_thread(self._content, workspace_prefix, entry)

    async def _in_thread(self, call: Callable[..., Result], *arguments: object) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._threads, call, *arguments)

    def _content(self, workspace_prefix: str, entry: ManifestEntry) -> bytes:
        try:
            body = self._store.get(content_key(workspace_prefix, entry), start=entry.offset, length=entry.stored_size)
        except ObjectMissing as error:
            raise StoredWorkspaceUnreadable(
                f"the content of {entry.path!r} is not in the object store", "recorded_content_unreadable"
            ) from error
        if hashlib.sha256(body).hexdigest() != entry.hash:
            raise StoredWorkspaceUnreadable(f"{entry.path!r} is not what was recorded", "recorded_content_unreadable")
        return body if entry.extents is None else _with_holes(body, entry.extents, entry.size)


def _with_holes(body: bytes, extents: Extents, size: int) -> bytes:
    whole, at = bytearray(size), 0
    for offset, length in extents:
        whole[offset : offset + length] = body[at : at + length]
        at += length
    return bytes(whole)
