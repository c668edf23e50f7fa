"""Errors of the domain. Each message says what happened, with which value, and what to do.

DomainError
├── InvalidInput            a value that can never be accepted; names its field (HTTP 400)
├── NotFound                no such stream or item (404)
├── Conflict                the current state does not allow it; carries a machine-readable reason (409)
│   ├── IdentityConflict        this id is in use with other properties
│   └── RunAttached             not while a run is attached to the session
├── NotAllowed              a value that this installation does not let its callers use; carries a reason (403)
├── StoredWorkspaceUnreadable   a template or a recorded sync can't be read as it was stored; carries a reason (422)
└── Fenced                  the writer holds an older generation or lease than the stream
"""


class DomainError(Exception):
    """A rule of the domain was broken."""


class InvalidInput(DomainError):
    """`field` is the wire path of the offending value, such as `manifest.requiredPaths[2]`."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field
        self.message = message


class NotFound(DomainError):
    """Nothing is known under this id."""


class Conflict(DomainError):
    """`reason` is a stable snake_case identifier, part of the API."""

    reason = "conflict"

    def __init__(self, message: str, reason: str | None = None) -> None:
        super().__init__(message)
        if reason is not None:
            self.reason = reason


class IdentityConflict(Conflict):
    reason = "identity_conflict"


class RunAttached(Conflict):
    reason = "run_attached"


class NotAllowed(DomainError):
    """`reason` is a stable snake_case identifier; the message names the value, and the setting that would allow it."""

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class StoredWorkspaceUnreadable(DomainError):
    """A template or a recorded sync is missing, corrupt or of another format. `reason` is a stable snake_case
    identifier; the message names the path, key or prefix."""

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class Fenced(DomainError):
    """The writer holds an older generation or lease than the stream knows; it must stop."""
