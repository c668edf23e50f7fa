"""Dead letters, effects that failed too often and wait for an operator: stream `effects:dead_letters`. Pure."""

from collections.abc import Sequence

import msgspec

from domain.errors import Conflict
from domain.event import Event
from domain.leveled import Levels, entry, with_entry
from domain.operations import events as e
from domain.record import Occurrence

STREAM_KEY = "dead_letters"


def dead_letter_stream(key: str) -> str:
    return f"effects:{key}"


class NotGivenUp(Conflict):
    reason = "not_given_up"


class DeadLetters(msgspec.Struct, frozen=True, kw_only=True):
    """`given_up`: by effect id, whether the effect is a dead letter now."""

    given_up: Levels[bool] = ()


class GiveUpEffect(msgspec.Struct, frozen=True, kw_only=True):
    effect_id: str
    kind: str
    attempts: int
    error: str


class RetryEffect(msgspec.Struct, frozen=True, kw_only=True):
    effect_id: str
    reason: str = ""


class DropEffect(msgspec.Struct, frozen=True, kw_only=True):
    effect_id: str
    reason: str = ""


DeadLetterCommand = GiveUpEffect | RetryEffect | DropEffect


def decide(state: DeadLetters | None, command: DeadLetterCommand) -> Sequence[Event]:
    """The events of a command. Raises NotGivenUp for a retry or drop of an effect that is no dead letter."""
    match command:
        case GiveUpEffect():
            return (
                e.EffectGivenUp(
                    effect_id=command.effect_id, kind=command.kind, attempts=command.attempts, error=command.error
                ),
            )
        case RetryEffect(effect_id=effect_id, reason=reason):
            _check_waits(state, effect_id)
            return (e.EffectRetryRequested(effect_id=effect_id, reason=reason),)
        case DropEffect(effect_id=effect_id, reason=reason):
            _check_waits(state, effect_id)
            return (e.EffectDropped(effect_id=effect_id, reason=reason),)


def _check_waits(state: DeadLetters | None, effect_id: str) -> None:
    if state is None or not entry(state.given_up, effect_id):
        raise NotGivenUp(f"effect {effect_id!r} was not given up; only those that were can be retried or dropped")


def evolve(state: DeadLetters | None, occurrence: Occurrence) -> DeadLetters | None:
    """The state after one more event."""
    known: Levels[bool] = state.given_up if state else ()
    match occurrence.event:
        case e.EffectGivenUp(effect_id=effect_id):
            return DeadLetters(given_up=with_entry(known, effect_id, value=True))
        case e.EffectRetryRequested(effect_id=effect_id) | e.EffectDropped(effect_id=effect_id):
            return DeadLetters(given_up=with_entry(known, effect_id, value=False))
        case _:
            return state
