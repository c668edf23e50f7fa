"""The events of operations: the audit of dead letters, of the queue's switch and of the reconcilers. Stored data."""

from typing import Literal

from domain.event import Event, wire


@wire("effect.given_up")
class EffectGivenUp(Event, frozen=True, kw_only=True):
    """A wanted effect has failed `attempts` times; it waits for a person now."""

    effect_id: str
    kind: str
    attempts: int
    error: str


@wire("effect.retry_requested")
class EffectRetryRequested(Event, frozen=True, kw_only=True):
    """It gets one more try."""

    effect_id: str
    reason: str = ""


@wire("effect.dropped")
class EffectDropped(Event, frozen=True, kw_only=True):
    """Nobody performs it any more."""

    effect_id: str
    reason: str = ""


@wire("queue.paused")
class QueuePaused(Event, frozen=True, kw_only=True):
    """No run is claimed from here; those that run go on."""

    reason: str = ""


@wire("queue.resumed")
class QueueResumed(Event, frozen=True, kw_only=True):
    reason: str = ""


@wire("reconcile.finished")
class ReconcileFinished(Event, frozen=True, kw_only=True):
    """What a reconciler found and did; a round that found nothing leaves no event."""

    what: Literal["runs", "syncs", "questions", "orphans", "effects", "collections"]
    examined: int
    acted: int
    failed: int = 0
    subjects: tuple[str, ...] = ()


@wire("process_manager.stopped")
class ProcessManagerStopped(Event, frozen=True, kw_only=True):
    """It can't take the event at `at_position`; it has reacted to everything before it."""

    at_position: int
    event_type: str
    error: str


@wire("process_manager.retried")
class ProcessManagerRetried(Event, frozen=True, kw_only=True):
    """Somebody wants it to try the event at `at_position` again."""

    at_position: int
    reason: str = ""


@wire("process_manager.skipped")
class ProcessManagerSkipped(Event, frozen=True, kw_only=True):
    """It goes on without the event at `at_position`: what that one made wanted is not done."""

    at_position: int
    reason: str = ""
