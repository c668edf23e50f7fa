"""One process manager, as the process that runs it sees it."""

from collections.abc import Callable, Sequence

import msgspec

from application.reactions import Reaction
from domain.event import NewerSchemaVersion
from domain.identifiers import DEFAULT_TENANT
from domain.record import RecordedEvent
from infrastructure.eventstore.reading import StoredRow, recorded_event

React = Callable[[RecordedEvent], Sequence[Reaction]]
Wish = tuple[RecordedEvent, Reaction]


class Trouble(msgspec.Struct, frozen=True, kw_only=True):
    """Why a process manager can't go on: the event at `position`. `newer`: newer code wrote it, nothing is wrong."""

    position: int
    type: str
    error: str
    newer: bool


class Unit:
    """`position`: it has reacted to everything up to there. `trouble`: the event right behind is one that it can't
    take."""

    def __init__(self, name: str, types: Sequence[str], react: React, *, position: int, skips: frozenset[int]) -> None:
        self.name, self.types, self._react = name, frozenset(types), react
        self.position, self.skips = position, skips
        self.trouble: Trouble | None = None

    def reactions(self, rows: Sequence[StoredRow]) -> tuple[list[Wish], Trouble | None]:
        """What the events make wanted, up to the one that can't be taken, if there is one."""
        wanted: list[Wish] = []
        for row in rows:
            if row.type not in self.types or row.position in self.skips:
                continue
            try:
                event = recorded_event(row, DEFAULT_TENANT)
                wanted += [(event, reaction) for reaction in self._react(event)]
            except Exception as error:  # noqa: BLE001  # whatever it is, it stops this process manager alone
                described = f"{type(error).__name__}: {error}"[:2000].replace("\0", "\\0")
                newer = isinstance(error, NewerSchemaVersion)
                return wanted, Trouble(position=row.position, type=row.type, error=described, newer=newer)
        return wanted, None
