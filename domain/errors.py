"""Broken rules, each with what happened, which value, and what to do.

DomainError
├── InvalidInput            a value that can never be accepted; names its field (HTTP 400)
├── NotFound                what is addressed does not exist (404)
├── Conflict                the present state does not allow it; carries a machine-readable reason (409)
│   ├── IdentityConflict        a known session or run with other properties
│   └── RunAttached             a stop or remove while a run is attached
└── Fenced                  a writer of an older generation or lease is refused
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
    """`reason` is a stable snake_case word for machines."""

    reason = "conflict"

    def __init__(self, message: str, reason: str | None = None) -> None:
        super().__init__(message)
        if reason is not None:
            self.reason = reason


class IdentityConflict(Conflict):
    reason = "identity_conflict"


class RunAttached(Conflict):
    reason = "run_attached"


class Fenced(DomainError):
    """The writer holds an older generation or lease than the stream knows; it must stop."""
