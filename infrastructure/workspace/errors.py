"""Why the workspace engine refuses or fails. Messages name the path, key or prefix.

Conflict (409)
├── NotRestored             this generation's restore has not completed
├── OtherGeneration         the folder holds another generation's workspace
└── FilesNotStable          a gate sync met files that are unreadable or keep changing; names them
RestoreFailed (422)         the plan can't be carried out: its template or its recorded sync is not what it must be
"""

from domain.errors import Conflict, DomainError


class NotRestored(Conflict):
    reason = "workspace_not_restored"

    def __init__(self) -> None:
        super().__init__("the workspace of this generation has not been restored yet; restore it first")


class OtherGeneration(Conflict):
    reason = "other_generation"


class FilesNotStable(Conflict):
    """`paths` could not be read, or changed while they were read, until the sync gave up."""

    reason = "files_not_stable"

    def __init__(self, paths: tuple[str, ...]) -> None:
        shown = ", ".join(paths[:5]) + (f" and {len(paths) - 5} more" if len(paths) > 5 else "")
        super().__init__(f"the sync gate is shut: files that can't be read, or that keep changing: {shown}")
        self.paths = paths


class RestoreFailed(DomainError):
    """`reason` is a stable snake_case word."""

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason
