"""The events of operations: dead letters, queue pauses, reconcilers, stopped process managers and projections of users.

Their wire names are stored data.
"""

from typing import Literal

from domain.event import Event, wire


@wire("effect.given_up")
class EffectGivenUp(Event, frozen=True, kw_only=True):
    """An effect has failed `attempts` times and is a dead letter now: only an operator retries or drops it."""

    effect_id: str
    kind: str
    attempts: int
    error: str


@wire("effect.retry_requested")
class EffectRetryRequested(Event, frozen=True, kw_only=True):
    """The dead letter is tried once more."""

    effect_id: str
    reason: str = ""


@wire("effect.dropped")
class EffectDropped(Event, frozen=True, kw_only=True):
    """The dead letter is never performed."""

    effect_id: str
    reason: str = ""


@wire("queue.paused")
class QueuePaused(Event, frozen=True, kw_only=True):
    """No run is claimed from now on; running ones continue."""

    reason: str = ""


@wire("queue.resumed")
class QueueResumed(Event, frozen=True, kw_only=True):
    reason: str = ""


@wire("reconcile.finished")
class ReconcileFinished(Event, frozen=True, kw_only=True):
    """What one round of a reconciler found and did. A round that found nothing records no event."""

    what: Literal["runs", "syncs", "questions", "orphans", "effects", "collections"]
    examined: int
    acted: int
    failed: int = 0
    subjects: tuple[str, ...] = ()


@wire("process_manager.stopped")
class ProcessManagerStopped(Event, frozen=True, kw_only=True):
    """It can't process the event at `at_position`; it has processed everything before."""

    at_position: int
    event_type: str
    error: str


@wire("process_manager.retried")
class ProcessManagerRetried(Event, frozen=True, kw_only=True):
    """Somebody asked for another try of the event at `at_position`."""

    at_position: int
    reason: str = ""


@wire("process_manager.skipped")
class ProcessManagerSkipped(Event, frozen=True, kw_only=True):
    """It continues after the event at `at_position`, whose outcomes are lost."""

    at_position: int
    reason: str = ""


@wire("process_manager.command_refused")
class ProcessManagerCommandRefused(Event, frozen=True, kw_only=True):
    """The command that the event at `at_position` led to was refused by its aggregate (the stream `refused_by`); it is
    not sent again."""

    at_position: int
    command_id: str
    refused_by: str
    error: str


@wire("user_projection.stopped")
class UserProjectionStopped(Event, frozen=True, kw_only=True):
    """A user's own projection can't process the event at `at_position`; it has processed everything before."""

    at_position: int
    event_type: str
    error: str


@wire("user_projection.retried")
class UserProjectionRetried(Event, frozen=True, kw_only=True):
    """Somebody asked for another try of the event at `at_position`."""

    at_position: int
    reason: str = ""


@wire("user_projection.skipped")
class UserProjectionSkipped(Event, frozen=True, kw_only=True):
    """It continues after the event at `at_position`, without having processed it."""

    at_position: int
    reason: str = ""


@wire("user_projection.forgotten")
class UserProjectionForgotten(Event, frozen=True, kw_only=True):
    """It is shown no more, until it runs again. Its stops and skips stand."""

    reason: str = ""
