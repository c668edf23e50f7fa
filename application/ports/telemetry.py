"""Where spans and measurements go. Both have a null object: who makes them does not ask whether anybody looks."""

from collections.abc import Sequence
from typing import Protocol

from application.observation.instruments import Instrument
from application.observation.span import Span


class Spans(Protocol):
    """Takes the spans of what a process does itself. Never blocks, never raises: what has no room is counted."""

    def id_of(self, name: str) -> str:
        """The span id of what the log calls `name`; empty where no spans are taken."""
        ...

    def new_id(self) -> str:
        """An id for a span of something without a name; empty where no spans are taken."""
        ...

    def take(self, span: Span) -> None: ...


class SpanExport(Protocol):
    """Takes the spans that follow from the log."""

    async def export(self, spans: Sequence[Span]) -> None:
        """Return when the collector has them, or when that has failed, which is counted. Raises nothing."""
        ...


class Measurements(Protocol):
    def add(self, instrument: Instrument, *labels: str, value: float = 1.0, trace_id: str = "") -> None:
        """Count, or observe one value of a histogram. `labels`: the values of the instrument's labels in their order;
        `trace_id`: of an exemplar, 32 hex digits."""
        ...


class NoSpans:
    """Implements Spans and SpanExport: nobody looks at traces."""

    def id_of(self, name: str) -> str:  # noqa: ARG002
        return ""

    def new_id(self) -> str:
        return ""

    def take(self, span: Span) -> None: ...

    async def export(self, spans: Sequence[Span]) -> None: ...


class NoMeasurements:
    """Implements Measurements: nobody counts."""

    def add(self, instrument: Instrument, *labels: str, value: float = 1.0, trace_id: str = "") -> None: ...


NO_SPANS, NO_MEASUREMENTS = NoSpans(), NoMeasurements()
