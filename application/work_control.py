"""What people may do about the work itself: retry or drop an effect that was given up, pause and resume the queue."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal, Protocol

import msgspec

from application.aggregates import Aggregates, Clock
from application.command_context import CommandContext
from application.effects.effect import ClaimedEffect
from application.ports import EventStore
from domain.errors import NotFound
from domain.operations import dead_letters, queue_switch
from domain.operations.dead_letters import DeadLetterCommand, DeadLetters, DropEffect, GiveUpEffect, RetryEffect
from domain.operations.queue_switch import PauseQueue, QueueCommand, QueueSwitch, ResumeQueue

EffectState = Literal["ready", "leased", "done", "obsolete", "dead", "dropped"]


class EffectTry(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """`outcome`: started (still under way), done, obsolete, failed, dead, interrupted (its worker was told to end),
    abandoned (its worker died, or was too slow to keep its lease)."""

    attempt: int
    owner: str
    started_at: datetime
    finished_at: datetime | None
    outcome: str
    error: str


class EffectRecord(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A row of the effect ledger. `id` addresses it; `caused_by` is the position of the event that wanted it."""

    id: str
    effect_id: str
    kind: str
    lane: str
    params: dict[str, Any]
    state: EffectState
    attempts: int
    caused_by: int
    last_error: str
    available_at: datetime
    lease_owner: str | None
    created_at: datetime
    finished_at: datetime | None


class EffectRecords(Protocol):
    """Reads the effect ledger."""

    async def list(self, *, states: Sequence[str], kind: str, before: int, limit: int) -> Sequence[EffectRecord]:
        """Newest first, those caused before position `before`; all of one position, so that pages lose none."""
        ...

    async def get(self, key: str) -> EffectRecord | None:
        """By `id`."""
        ...

    async def tries(self, effect_id: str) -> Sequence[EffectTry]:
        """All that was tried, oldest first."""
        ...


class WorkControl:
    """Every decision is an event; the ledger and the queue follow it with the process managers' checkpoint."""

    def __init__(self, *, store: EventStore, records: EffectRecords, clock: Clock) -> None:
        self.records = records
        self._letters: Aggregates[DeadLetters, DeadLetterCommand] = Aggregates(
            store=store,
            clock=clock,
            stream_of=dead_letters.dead_letter_stream,
            decide=dead_letters.decide,
            evolve=dead_letters.evolve,
        )
        self._switch: Aggregates[QueueSwitch, QueueCommand] = Aggregates(
            store=store,
            clock=clock,
            stream_of=queue_switch.queue_stream,
            decide=queue_switch.decide,
            evolve=queue_switch.evolve,
        )

    async def given_up(self, effect: ClaimedEffect, error: str) -> None:
        """Record that an effect has become a dead letter."""
        command = GiveUpEffect(effect_id=effect.effect_id, kind=effect.kind, attempts=effect.attempt, error=error)
        context = effect.context(f"dead/{effect.attempt}")
        await self._letters.handle(dead_letters.STREAM_KEY, command, context)

    async def retry(self, key: str, reason: str, context: CommandContext) -> int:
        """One more try; the position of the decision. Raises NotFound, NotGivenUp."""
        record = await self._dead(key)
        command = RetryEffect(effect_id=record.effect_id, reason=reason)
        return (await self._letters.handle(dead_letters.STREAM_KEY, command, context)).position

    async def drop(self, key: str, reason: str, context: CommandContext) -> int:
        """Never try again; the position of the decision. Raises NotFound, NotGivenUp."""
        record = await self._dead(key)
        command = DropEffect(effect_id=record.effect_id, reason=reason)
        return (await self._letters.handle(dead_letters.STREAM_KEY, command, context)).position

    async def _dead(self, key: str) -> EffectRecord:
        record = await self.records.get(key)
        if record is None:
            raise NotFound(f"no effect {key!r} is known; GET /api/effects lists them")
        if record.state != "dead":
            raise dead_letters.NotGivenUp(f"effect {record.effect_id!r} is {record.state}, it was not given up")
        return record

    async def pause_queue(self, reason: str, context: CommandContext) -> int:
        """Claim no run until the queue is resumed; the position of the decision."""
        return (await self._switch.handle(queue_switch.STREAM_KEY, PauseQueue(reason=reason), context)).position

    async def resume_queue(self, reason: str, context: CommandContext) -> int:
        return (await self._switch.handle(queue_switch.STREAM_KEY, ResumeQueue(reason=reason), context)).position

    async def queue_is_paused(self) -> bool:
        state = (await self._switch.load(queue_switch.STREAM_KEY)).state
        return state is not None and state.paused
