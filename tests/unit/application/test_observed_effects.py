"""What an effect worker tells of its attempts."""

from collections import Counter
from datetime import UTC, datetime, timedelta

from application.effects.observed_effects import ObservedEffects
from application.observation.instruments import Instrument
from application.observation.span import Span, span_id_of
from application.ports.effect_ledger import ClaimedEffect, EffectLease
from application.ports.telemetry import NO_SPANS, NoSpans

WANTED_AT = datetime.now(UTC) - timedelta(minutes=1)


class Seen(NoSpans):
    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.counted: Counter[tuple[str, ...]] = Counter()

    def id_of(self, name: str) -> str:
        return span_id_of(name)

    def take(self, span: Span) -> None:
        self.spans.append(span)

    def add(self, instrument: Instrument, *labels: str, value: float = 1.0, trace_id: str = "") -> None:
        self.counted[instrument.name, *labels] += 1


def lease(attempt: int) -> EffectLease:
    effect = ClaimedEffect(
        effect_id="workspace.sync/session:s/10",
        kind="workspace.sync",
        params={},
        attempt=attempt,
        last_attempt=False,
        actor="a",
        correlation_id="c",
        causation_id="an event",
        trace_id="a" * 32,
        wanted_at=WANTED_AT,
    )
    return EffectLease(effect=effect, generation=attempt)


def test_its_attempts_are_below_the_effect_and_the_effect_below_the_event_that_wanted_it() -> None:
    seen = Seen()
    effects = ObservedEffects(seen, seen)
    effects.begin(lease(1)).ended("failed", "ExecutorError")
    effects.begin(lease(2)).ended("done")

    first, second, effect = seen.spans
    assert [first.name, second.name, effect.name] == [
        "workspace.sync attempt 1",
        "workspace.sync attempt 2",
        "effect workspace.sync",
    ]
    assert {first.parent_id, second.parent_id} == {effect.span_id}
    assert effect.parent_id == span_id_of("session:s/10")
    assert effect.span_id == span_id_of("workspace.sync/session:s/10")
    assert (effect.start, first.error, effect.error) == (WANTED_AT, "ExecutorError", "")
    assert first.span_id != second.span_id


def test_attempts_are_counted_by_their_end_and_effects_once() -> None:
    seen = Seen()
    effects = ObservedEffects(NO_SPANS, seen)
    effects.begin(lease(1)).ended("deferred", "dependency_down")
    effects.begin(lease(1)).ended("failed", "ExecutorError")
    effects.begin(lease(2)).ended("dead", "ExecutorError")

    assert seen.counted == {
        ("effect_attempts", "workspace.sync", "deferred"): 1,
        ("effect_attempts", "workspace.sync", "failed"): 1,
        ("effect_attempts", "workspace.sync", "dead"): 1,
        ("effect_seconds", "workspace.sync", "dead"): 1,
    }
    assert seen.spans == []
