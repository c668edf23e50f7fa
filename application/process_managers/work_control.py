"""How people's decisions about the work move the effect ledger and the run queue."""

from collections.abc import Sequence

from application.reactions import DropDeadEffect, LookAtQueue, Reaction, RetryDeadEffect
from domain.operations import events as e
from domain.record import RecordedEvent


def try_effect_again_on_retry_requested(_recorded: RecordedEvent, event: e.EffectRetryRequested) -> Sequence[Reaction]:
    return (RetryDeadEffect(effect_id=event.effect_id),)


def drop_effect_on_dropped(_recorded: RecordedEvent, event: e.EffectDropped) -> Sequence[Reaction]:
    return (DropDeadEffect(effect_id=event.effect_id),)


def look_at_queue_on_resumed(_recorded: RecordedEvent, _event: e.QueueResumed) -> Sequence[Reaction]:
    return (LookAtQueue(),)
