"""Errors of the workspace engine. Messages name the path, key or prefix.

Conflict (409)
├── NotRestored             this generation's restore has not completed
├── OtherGeneration         the folder holds another generation's workspace
└── FilesNotStable          a gate sync found files that are unreadable or keep changing; `paths` names them
StoredWorkspaceUnreadable (422), in domain/errors.py
"""

from domain.errors import Conflict


class NotRestored(Conflict):
    reason = "workspace_not_restored"

    def __init__(self) -> None:
        super().__init__("the workspace of this generation has not been restored yet; restore it first")


class OtherGeneration(Conflict):
    reason = "other_generation"


class FilesNotStable(Conflict):
    """`paths` could not be read, or changed during each of the gate sync's passes."""

    reason = "files_not_stable"

    def __init__(self, paths: tuple[str, ...]) -> None:
        shown = ", ".join(paths[:5]) + (f" and {len(paths) - 5} more" if len(paths) > 5 else "")
        super().__init__(f"the sync gate is shut: files that can't be read, or that keep changing: {shown}")
        self.paths = paths
