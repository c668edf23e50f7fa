"""What observers are, and what they find in an event."""

import msgspec

from application.observation.instruments import Instrument, Measurement
from application.observation.span import Span


class Observed(msgspec.Struct, frozen=True, kw_only=True):
    spans: tuple[Span, ...] = ()
    measurements: tuple[Measurement, ...] = ()

    def __add__(self, other: "Observed") -> "Observed":
        return Observed(spans=self.spans + other.spans, measurements=self.measurements + other.measurements)


NOTHING = Observed()


def measured(instrument: Instrument, *labels: str, value: float = 1.0, trace_id: str = "") -> Measurement:
    return Measurement(instrument=instrument, labels=labels, value=value, trace_id=trace_id)
