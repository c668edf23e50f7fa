"""What an effect worker tells of its attempts: their spans, and that of the effect once it has ended."""

import time
from datetime import UTC, datetime

from application.observation import conventions as c
from application.observation import instruments as i
from application.observation.span import Span, Value, in_order, span_id_of
from application.ports.effect_ledger import EffectLease
from application.ports.telemetry import Measurements, Spans
from application.trace_context import w3c_trace_id

ENDS = frozenset({"done", "obsolete", "dead"})


class ObservedEffects:
    def __init__(self, spans: Spans, measurements: Measurements) -> None:
        self._spans, self._measurements = spans, measurements

    def begin(self, lease: EffectLease) -> "ObservedAttempt":
        return ObservedAttempt(lease, self._spans, self._measurements)


class ObservedAttempt:
    """One attempt of an effect, from now on. `trace_id`: 32 hex digits; of what no request has caused, such as a
    schedule, one of its own. `span_id`: the parent of what the attempt calls; empty where no spans are taken."""

    def __init__(self, lease: EffectLease, spans: Spans, measurements: Measurements) -> None:
        effect = lease.effect
        self._effect, self._spans, self._measurements = effect, spans, measurements
        self._began = time.time()
        self.trace_id = w3c_trace_id(effect.trace_id or effect.correlation_id)
        self.span_id = spans.id_of(f"{effect.effect_id}#{lease.generation}")

    def ended(self, outcome: str, error: str = "") -> None:
        """`outcome`: of the attempt, one of ENDS if the effect has ended with it. `error`: a stable word."""
        kind, trace_id = self._effect.kind, self.trace_id
        self._measurements.add(i.EFFECT_ATTEMPTS, kind, outcome, trace_id=trace_id)
        now, began = datetime.now(UTC), datetime.fromtimestamp(self._began, UTC)
        wanted_at = self._effect.wanted_at or began
        if outcome in ENDS:
            seconds = max((now - wanted_at).total_seconds(), 0.0)
            self._measurements.add(i.EFFECT_SECONDS, kind, outcome, value=seconds, trace_id=trace_id)
        effect_span = self._spans.id_of(self._effect.effect_id)
        if not effect_span:
            return
        self._take(self.span_id, effect_span, f"{kind} attempt {self._effect.attempt}", began, now, outcome, error)
        if outcome in ENDS:
            # An effect's id ends with the name of the event that wanted it.
            wanted_by = span_id_of(self._effect.effect_id.removeprefix(f"{kind}/"))
            self._take(effect_span, wanted_by, f"effect {kind}", wanted_at, now, outcome, error)

    def _take(
        self, span_id: str, parent_id: str, name: str, began: datetime, ended: datetime, outcome: str, error: str
    ) -> None:
        about: dict[str, Value] = {
            c.EFFECT_ID: self._effect.effect_id,
            c.EFFECT_KIND: self._effect.kind,
            c.ATTEMPT: self._effect.attempt,
            c.OUTCOME: outcome,
        }
        start, end = in_order(began, ended)
        self._spans.take(
            Span(
                trace_id=self.trace_id,
                span_id=span_id,
                parent_id=parent_id,
                name=name,
                kind="consumer",
                start=start,
                end=end,
                attributes=about,
                error=error,
            )
        )
