"""Errors of the workspace engine. Messages name the path, key or prefix.

Conflict (409)
├── NotRestored             this generation's restore has not completed
├── OtherGeneration         the folder holds another generation's workspace
├── WorkspaceOverQuota      the workspace is larger than may be synced
└── FilesNotStable          a gate sync found files that are unreadable or keep changing; `paths` names them
StoredWorkspaceUnreadable (422), in domain/errors.py
"""

from application.executor_protocol import OVER_QUOTA
from domain.errors import Conflict


class NotRestored(Conflict):
    reason = "workspace_not_restored"

    def __init__(self) -> None:
        super().__init__("the workspace of this generation has not been restored yet; restore it first")


class OtherGeneration(Conflict):
    reason = "other_generation"


class WorkspaceOverQuota(Conflict):
    """No sync can succeed before the workspace is smaller or the limit higher."""

    reason = OVER_QUOTA

    def __init__(self, what: str) -> None:
        super().__init__(
            f"the workspace is too large to be synced: {what}; delete what is not needed, raise the limit, or give the "
            "workspace up (POST /api/session-workers/{sessionId}/discard-workspace)"
        )


class FilesNotStable(Conflict):
    """`paths` could not be read, or changed during each of the gate sync's passes."""

    reason = "files_not_stable"

    def __init__(self, paths: tuple[str, ...]) -> None:
        shown = ", ".join(paths[:5]) + (f" and {len(paths) - 5} more" if len(paths) > 5 else "")
        super().__init__(f"the sync gate is shut: files that can't be read, or that keep changing: {shown}")
        self.paths = paths
