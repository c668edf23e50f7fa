"""What reconcilers found and did, in the log: streams `reconcile:{what}`."""

import logging
from collections.abc import Sequence
from typing import Literal

from application.aggregates import Clock
from application.command_context import CommandContext
from application.ports import EventStore, ExpectedSeqConflict
from domain.errors import Conflict
from domain.operations.events import ReconcileFinished
from domain.record import NewEvent

log = logging.getLogger(__name__)
MAX_RACES = 50
MOST_SUBJECTS = 100


class Findings:
    def __init__(self, *, store: EventStore, clock: Clock) -> None:
        self._store, self._clock = store, clock

    async def record(self, finding: ReconcileFinished, context: CommandContext) -> int:
        """The position of the finding; 0 for a round that found nothing, which leaves no event."""
        if finding.examined == 0:
            return 0
        stream = f"reconcile:{finding.what}"
        event = NewEvent(
            event_id=f"{context.command_id}/{finding.what}",
            event=finding,
            occurred_at=self._clock(),
            metadata=context.metadata(),
        )
        for _ in range(MAX_RACES):
            try:
                return (await self._store.append(stream, await self._store.last_seq(stream), [event])).position
            except ExpectedSeqConflict:
                continue
        raise Conflict(f"{stream} is too busy: {MAX_RACES} races lost; try again", "too_busy")


class Takeovers:
    """What workers took over from others that are gone: they find it as they claim, and go on whatever becomes of the
    finding."""

    def __init__(self, findings: Findings) -> None:
        self._findings = findings

    async def record(
        self, what: Literal["runs", "effects"], subjects: Sequence[str], *, actor: str, command_id: str
    ) -> None:
        finding = ReconcileFinished(what=what, examined=len(subjects), acted=len(subjects), subjects=few(subjects))
        try:
            await self._findings.record(
                finding, CommandContext(actor=actor, command_id=command_id, correlation_id=command_id)
            )
        except Exception:
            log.exception("%s were taken over, which could not be recorded: %s", what, ", ".join(few(subjects)))


def few(subjects: Sequence[str]) -> tuple[str, ...]:
    """The first subjects of a finding: an event has its size."""
    return tuple(subjects[:MOST_SUBJECTS])
