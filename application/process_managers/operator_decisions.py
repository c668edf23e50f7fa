"""What operators' decisions about dead letters and the run queue lead to."""

from collections.abc import Sequence

from application.process_managers.outcomes import DropDeadEffect, Outcome, RetryDeadEffect, WakeRunWorkers
from domain.operations import events as e
from domain.record import RecordedEvent


def retry_effect_on_retry_requested(_recorded: RecordedEvent, event: e.EffectRetryRequested) -> Sequence[Outcome]:
    return (RetryDeadEffect(effect_id=event.effect_id),)


def drop_effect_on_dropped(_recorded: RecordedEvent, event: e.EffectDropped) -> Sequence[Outcome]:
    return (DropDeadEffect(effect_id=event.effect_id),)


def wake_run_workers_on_resumed(_recorded: RecordedEvent, _event: e.QueueResumed) -> Sequence[Outcome]:
    return (WakeRunWorkers(),)
