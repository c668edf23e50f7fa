"""The events of a projection's administration. Wire names are stored data.

`version` is that of the rows being built, counted from 1; `fold_version` is that of the code that folds them.
"""

from domain.event import Event, wire


class ProjectionEvent(Event, frozen=True, kw_only=True):
    version: int
    fold_version: int


@wire("projection.paused")
class ProjectionPaused(ProjectionEvent, frozen=True, kw_only=True):
    """The event at `at_position` of the log can't be applied; the rows hold everything before it."""

    at_position: int
    event_type: str
    error: str


@wire("projection.retried")
class ProjectionRetried(ProjectionEvent, frozen=True, kw_only=True):
    """Somebody asked for another try of the event at `at_position`."""

    at_position: int
    reason: str = ""


@wire("projection.skipped")
class ProjectionSkipped(ProjectionEvent, frozen=True, kw_only=True):
    """Folds of this `fold_version` leave out the event at `at_position`, now and in every rebuild."""

    at_position: int
    reason: str = ""


@wire("projection.rebuild_requested")
class ProjectionRebuildRequested(ProjectionEvent, frozen=True, kw_only=True):
    """A new version of the rows is to be built while readers use the active one."""

    reason: str = ""


@wire("projection.rebuilt")
class ProjectionRebuilt(ProjectionEvent, frozen=True, kw_only=True):
    """Readers see `version` from now on; it held everything up to `at_position`."""

    at_position: int
