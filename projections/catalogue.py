"""The list of all projections."""

from typing import Any

from projections.chats import CHATS
from projections.human_loop import HUMAN_LOOP
from projections.projection import Projection
from projections.runs import RUNS
from projections.session_workers import SESSION_WORKERS
from projections.sync_history import SYNC_HISTORY
from projections.todos import TODOS
from projections.usage import USAGE

PROJECTIONS: tuple[Projection[Any], ...] = (SESSION_WORKERS, RUNS, TODOS, HUMAN_LOOP, USAGE, SYNC_HISTORY, CHATS)


def projection_named(name: str) -> Projection[Any]:
    """The projection of this name. Raises LookupError, with the known names, if there is none."""
    for projection in PROJECTIONS:
        if projection.name == name:
            return projection
    names = ", ".join(projection.name for projection in PROJECTIONS)
    raise LookupError(f"there is no projection {name!r}; known are: {names}")
