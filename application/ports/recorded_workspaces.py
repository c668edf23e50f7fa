"""Workspaces as recorded syncs have them, read from the object store without a session worker."""

from collections.abc import Sequence
from typing import Protocol

from domain.workspace.sync import ManifestEntry, SyncRef


class RecordedWorkspaces(Protocol):
    """A sync that can't be read is an error, never an empty list: StoredWorkspaceUnreadable, or the store's own."""

    async def entries(self, sync: SyncRef) -> Sequence[ManifestEntry]:
        """All paths of a sync, sorted."""
        ...

    async def content(self, workspace_prefix: str, entry: ManifestEntry) -> bytes:
        """The bytes of one file of it, verified by their hash."""
        ...
