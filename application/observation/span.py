"""A span of a trace, and the ids of spans.

What has a name in the log has a span id that follows from that name: a command by its id, an event by `{stream}/{seq}`,
an effect and a lease by their ids. So whoever knows a causation id knows the parent, after a restart and in another
process, too.
"""

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Literal

import msgspec

from application.trace_context import w3c_trace_id
from domain.record import Metadata, RecordedEvent

SpanKind = Literal["internal", "server", "client", "producer", "consumer"]
Value = str | int | float | bool
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Span(msgspec.Struct, frozen=True, kw_only=True):
    """`trace_id` has 32 hex digits, `span_id` and `parent_id` 16; a root has no parent. `error`: the `error.type`, a
    stable word; empty if it went well."""

    trace_id: str
    span_id: str
    parent_id: str = ""
    name: str
    kind: SpanKind = "internal"
    start: datetime
    end: datetime
    attributes: Mapping[str, Value] = {}
    error: str = ""


def span_id_of(name: str) -> str:
    """The id of the span of what the log calls `name`: 16 hex digits, never all zeros."""
    found = hashlib.sha256(name.encode()).hexdigest()[:16]
    return found if found.strip("0") else "0" * 15 + "1"


def event_name(event: RecordedEvent) -> str:
    """How a causation id names an event."""
    return f"{event.stream}/{event.seq}"


def trace_of(metadata: Metadata) -> str:
    """The trace of an event. What no request from outside has caused, such as a schedule, has one of its own."""
    return w3c_trace_id(metadata.trace_id or metadata.correlation_id)


def in_order(start: datetime, end: datetime) -> tuple[datetime, datetime]:
    """Start and end of a span whose clocks may differ: it does not end before it starts."""
    return start, max(start, end)
