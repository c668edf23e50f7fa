"""What operators may ask: retry or drop an effect that was given up; pause or resume the run queue."""

from application.aggregates.aggregates import Aggregates, Clock
from application.command_context import CommandContext
from application.ports.effect_ledger import ClaimedEffect
from application.ports.effect_records import EffectRecord, EffectRecords
from application.ports.event_store import EventStore
from domain.errors import NotFound
from domain.operations import dead_letters, queue_switch
from domain.operations.dead_letters import DeadLetterCommand, DeadLetters, DropEffect, GiveUpEffect, RetryEffect
from domain.operations.queue_switch import PauseQueue, QueueCommand, QueueSwitch, ResumeQueue


class OperatorCommands:
    """Each command appends an event. A process manager then changes the effect ledger or wakes the run workers; whether
    the queue is paused, each claim reads from the log."""

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
        """Try a dead letter once more; the position of the decision. Raises NotFound, NotGivenUp."""
        record = await self._dead(key)
        command = RetryEffect(effect_id=record.effect_id, reason=reason)
        return (await self._letters.handle(dead_letters.STREAM_KEY, command, context)).position

    async def drop(self, key: str, reason: str, context: CommandContext) -> int:
        """Never try a dead letter again; the position of the decision. Raises NotFound, NotGivenUp."""
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
