"""Reads recorded syncs from the object store for the control plane, without an executor."""

import asyncio
import hashlib
from collections.abc import Sequence

from application.ports.object_store import ObjectMissing, ObjectStore
from domain.errors import StoredWorkspaceUnreadable
from domain.workspace.sync import ManifestEntry, SyncRef
from infrastructure.stored_workspaces.object_layout import content_key
from infrastructure.stored_workspaces.recorded_sync import load_recorded_sync


class S3RecordedWorkspaces:
    """Implements RecordedWorkspaces. Raises StoredWorkspaceUnreadable, and what the object store raises."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    async def entries(self, sync: SyncRef) -> Sequence[ManifestEntry]:
        manifest, _ = await asyncio.to_thread(load_recorded_sync, self._store, sync)
        return manifest.entries

    async def content(self, workspace_prefix: str, entry: ManifestEntry) -> bytes:
        return await asyncio.to_thread(self._content, workspace_prefix, entry)

    def _content(self, workspace_prefix: str, entry: ManifestEntry) -> bytes:
        try:
            body = self._store.get(content_key(workspace_prefix, entry), start=entry.offset, length=entry.size)
        except ObjectMissing as error:
            raise StoredWorkspaceUnreadable(
                f"the content of {entry.path!r} is not in the object store", "recorded_content_unreadable"
            ) from error
        if hashlib.sha256(body).hexdigest() != entry.hash:
            raise StoredWorkspaceUnreadable(f"{entry.path!r} is not what was recorded", "recorded_content_unreadable")
        return body
