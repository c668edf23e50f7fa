"""The port of aggregate snapshots: folds kept beside the log, so that a long stream need not be read from its start.

A cache, never a source of truth: it may be empty or behind, and be dropped at any time. That costs time, not facts.
"""

from typing import Generic, Protocol, TypeVar

import msgspec

State = TypeVar("State")


class Snapshot(msgspec.Struct, Generic[State], frozen=True, kw_only=True):
    """The state of a stream after its event `seq`, whose place in the log is `position`."""

    state: State
    seq: int
    position: int


class SnapshotStore(Protocol[State]):
    """The snapshots of the aggregates of one kind. Whatever goes wrong in it is logged and stays in it."""

    async def newest(self, stream: str) -> Snapshot[State] | None:
        """The newest snapshot that code of this version wrote and the log confirms; None when there is none, or when it
        can't be read in reasonable time."""
        ...

    def keep(self, stream: str, snapshot: Snapshot[State]) -> None:
        """Write it later, in the background, unless a newer one is there. May forget it when there is too much to do.
        Returns at once; the log must have acknowledged the snapshot's event."""
        ...
