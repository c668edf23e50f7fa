"""Records in the log what the reconcilers did: `reconcile.finished` events in the streams `reconcile:{what}`."""

import logging
from collections.abc import Sequence
from typing import Literal

from application.aggregates.aggregates import Clock
from application.command_context import CommandContext
from application.ports.event_store import EventStore, ExpectedSeqConflict
from domain.errors import Conflict
from domain.operations.events import ReconcileFinished
from domain.record import NewEvent

log = logging.getLogger(__name__)
MAX_RACES = 50
MAX_SUBJECTS = 100


class ReconcileLog:
    def __init__(self, *, store: EventStore, clock: Clock) -> None:
        self._store, self._clock = store, clock

    async def record(self, finished: ReconcileFinished, context: CommandContext) -> int:
        """Append it; its position, or 0 for a round that examined nothing, which is not recorded. Raises Conflict
        `too_busy`."""
        if finished.examined == 0:
            return 0
        stream = f"reconcile:{finished.what}"
        event = NewEvent(
            event_id=f"{context.command_id}/{finished.what}",
            event=finished,
            occurred_at=self._clock(),
            metadata=context.metadata(),
        )
        for _ in range(MAX_RACES):
            try:
                return (await self._store.append(stream, await self._store.last_seq(stream), [event])).position
            except ExpectedSeqConflict:
                continue
        raise Conflict(f"{stream} is too busy: {MAX_RACES} races lost; try again", "too_busy")


class TakeoverLog:
    """Records which runs or effects a worker claimed whose earlier lease had run out. A failure to record it is logged,
    never raised: the work itself goes on."""

    def __init__(self, reconcile_log: ReconcileLog) -> None:
        self._reconcile_log = reconcile_log

    async def record(
        self, what: Literal["runs", "effects"], subjects: Sequence[str], *, actor: str, command_id: str
    ) -> None:
        finished = ReconcileFinished(
            what=what, examined=len(subjects), acted=len(subjects), subjects=first_subjects(subjects)
        )
        try:
            await self._reconcile_log.record(
                finished, CommandContext(actor=actor, command_id=command_id, correlation_id=command_id)
            )
        except Exception:
            log.exception(
                "%s were taken over, which could not be recorded: %s", what, ", ".join(first_subjects(subjects))
            )


def first_subjects(subjects: Sequence[str]) -> tuple[str, ...]:
    """At most MAX_SUBJECTS of them, which bounds the size of the event."""
    return tuple(subjects[:MAX_SUBJECTS])
