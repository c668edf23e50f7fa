"""Reads recorded syncs straight from the object store, for the control plane."""

import asyncio
import hashlib
from collections.abc import Sequence

from domain.workspace.sync import ManifestEntry, SyncRef
from infrastructure.object_store.errors import ObjectMissing
from infrastructure.object_store.s3 import S3ObjectStore
from infrastructure.workspace.errors import RestoreFailed
from infrastructure.workspace.layers import load_recorded_sync
from infrastructure.workspace.object_layout import content_key


class S3RecordedWorkspaces:
    """Implements RecordedWorkspaces. Raises RestoreFailed, and what the object store raises."""

    def __init__(self, store: S3ObjectStore) -> None:
        self._store = store

    async def entries(self, sync: SyncRef) -> Sequence[ManifestEntry]:
        recorded, _ = await asyncio.to_thread(load_recorded_sync, self._store, sync)
        return recorded.manifest.entries

    async def content(self, workspace_prefix: str, entry: ManifestEntry) -> bytes:
        return await asyncio.to_thread(self._content, workspace_prefix, entry)

    def _content(self, workspace_prefix: str, entry: ManifestEntry) -> bytes:
        try:
            body = self._store.get(content_key(workspace_prefix, entry), start=entry.offset, length=entry.size)
        except ObjectMissing as error:
            raise RestoreFailed(
                f"the content of {entry.path!r} is not in the object store", "recorded_content"
            ) from error
        if hashlib.sha256(body).hexdigest() != entry.hash:
            raise RestoreFailed(f"{entry.path!r} is not what was recorded", "recorded_content")
        return body
