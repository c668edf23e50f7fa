"""Pages that fail although the database is there: each failure makes the version's next page an eighth as large. An
event that has failed alone SINGLE_TRIES times blocks its version, as one that can't be applied does."""

from dataclasses import dataclass

import psycopg

from infrastructure.postgres.projector.projected_version import ProjectedVersion

SMALLER = 8
SINGLE_TRIES = 5
_OF_THE_SERVER = ("08", "25006", "53", "57", "58")
"""SQLSTATEs of a server that is away, full or read-only: no page can help that."""
_OF_THE_STATEMENT = ("53200", "57014")
"""Out of memory, and canceled for its time."""


class PageFailed(Exception):
    """A page could not be read, folded or written, for a reason that does not name an event."""


@dataclass
class _Failing:
    position: int
    size: int
    up_to: int
    tries: int
    error: BaseException


class FailingPages:
    """By version, how its page failed last; kept over lost connections."""

    def __init__(self) -> None:
        self._failing: dict[tuple[str, int], _Failing] = {}

    def size(self, projected: ProjectedVersion, usual: int) -> int:
        """The positions of the version's next page."""
        failing = self._failing.get((projected.name, projected.version))
        return usual if failing is None else min(failing.size, usual)

    def is_failing(self, projected: ProjectedVersion) -> bool:
        """Whether the version's page is read for it alone."""
        return (projected.name, projected.version) in self._failing

    def failed(self, projected: ProjectedVersion, usual: int, error: BaseException) -> None:
        """Note a failure, unless the server is at fault."""
        if _server_is_at_fault(error):
            return
        key, position = (projected.name, projected.version), projected.position
        before = self._failing.get(key)
        if before is None:
            self._failing[key] = _Failing(position, max(usual // SMALLER, 1), position + usual, 0, error)
            return
        tries = before.tries if before.position == position else 0
        if before.size == 1:
            tries += 1
        self._failing[key] = _Failing(position, max(before.size // SMALLER, 1), before.up_to, tries, error)

    def blocks(self, projected: ProjectedVersion) -> BaseException | None:
        """The error of the event after the version's position, if it failed too often; it is forgotten then."""
        key = projected.name, projected.version
        failing = self._failing.get(key)
        if failing is None or failing.position != projected.position or failing.tries < SINGLE_TRIES:
            return None
        del self._failing[key]
        return failing.error

    def passed(self, projected: ProjectedVersion) -> None:
        """Note a page that was written: past the one that failed, pages have their usual size again."""
        failing = self._failing.get((projected.name, projected.version))
        if failing is not None and projected.position >= failing.up_to:
            del self._failing[projected.name, projected.version]


def _server_is_at_fault(error: BaseException) -> bool:
    state = (error.sqlstate or "") if isinstance(error, psycopg.Error) else ""
    return state.startswith(_OF_THE_SERVER) and state not in _OF_THE_STATEMENT
