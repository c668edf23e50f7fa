"""The spans of events, and of the commands from outside that led to them: the tree that `fleetlog why` shows."""

from application.observation import conventions as c
from application.observation.observed import NOTHING, Observed
from application.observation.span import Span, event_name, in_order, span_id_of, trace_of
from domain.record import RecordedEvent


def observe_causes(recorded: RecordedEvent) -> Observed:
    """The event, below what its causation id names; from its decision to its record. The first event of a command from
    outside brings the command's span, too, below that of the request."""
    metadata = recorded.metadata
    if not metadata.causation_id:
        return NOTHING
    trace, cause = trace_of(metadata), span_id_of(metadata.causation_id)
    start, end = in_order(recorded.occurred_at, recorded.recorded_at)
    wire_name = recorded.event.wire_name
    event = Span(
        trace_id=trace,
        span_id=span_id_of(event_name(recorded)),
        parent_id=cause,
        name=wire_name,
        kind="producer",
        start=start,
        end=end,
        attributes={
            c.EVENT_TYPE: wire_name,
            c.EVENT_STREAM: recorded.stream,
            c.EVENT_SEQ: recorded.seq,
            c.EVENT_POSITION: recorded.position,
        },
    )
    if recorded.event_id != metadata.causation_id:
        return Observed(spans=(event,))
    command = Span(
        trace_id=trace,
        span_id=cause,
        parent_id=metadata.span_id,
        name=f"command {wire_name}",
        start=start,
        end=end,
        attributes={c.COMMAND_ID: metadata.causation_id, c.EVENT_TYPE: wire_name},
    )
    return Observed(spans=(command, event))
