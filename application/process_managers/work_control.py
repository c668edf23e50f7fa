"""How people's decisions about the work move the effect ledger and the run queue."""

from collections.abc import Sequence

from application.reactions import DropDeadEffect, Reaction, RetryDeadEffect, SwitchQueue
from domain.operations import events as e
from domain.record import RecordedEvent


def try_effect_again_on_retry_requested(_recorded: RecordedEvent, event: e.EffectRetryRequested) -> Sequence[Reaction]:
    return (RetryDeadEffect(effect_id=event.effect_id),)


def drop_effect_on_dropped(_recorded: RecordedEvent, event: e.EffectDropped) -> Sequence[Reaction]:
    return (DropDeadEffect(effect_id=event.effect_id),)


def pause_queue_on_paused(_recorded: RecordedEvent, _event: e.QueuePaused) -> Sequence[Reaction]:
    return (SwitchQueue(paused=True),)


def resume_queue_on_resumed(_recorded: RecordedEvent, _event: e.QueueResumed) -> Sequence[Reaction]:
    return (SwitchQueue(paused=False),)
