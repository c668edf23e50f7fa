"""Copying a recorded workspace to where a forked session has its own."""

from typing import Protocol

import msgspec

from domain.workspace.sync import SyncRef


class CopiedWorkspace(msgspec.Struct, frozen=True, kw_only=True):
    """`files` and `bytes` of the workspace; `contents` counts the objects and packs that hold them."""

    files: int = 0
    contents: int = 0
    bytes: int = 0


class WorkspaceGone(Exception):
    """What a sync names is not in the object store any more, or not as it was recorded: trying again would not help."""


class WorkspaceCopier(Protocol):
    async def copy(self, source: SyncRef, target: SyncRef) -> CopiedWorkspace:
        """Copy the manifest `source` and all content that it names below the prefix of `target`, which has the same
        bytes; the manifest last. What is there already is left alone. Raises WorkspaceGone."""
        ...
