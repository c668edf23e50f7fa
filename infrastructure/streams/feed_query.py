"""The SQL that finds a filter's events in the global log, composed of fixed conditions.

`recorded_to` is no condition: the caller stops at the first row past it (feed_frames.is_past).
"""

from typing import Any

import sql
from application.ports.event_streams import EventFilter

SCANNED_POSITIONS = 20_000
"""One search scans at most this many positions, however few of them match, which bounds its time."""

_CONDITIONS = {
    "types": "type = ANY(%(types)s::text[])",
    "stream": "stream = %(stream)s",
    "actor": "jsonb_or_null(metadata) ->> 'actor' = %(actor)s",
    "correlation_id": "jsonb_or_null(metadata) ->> 'correlationId' = %(correlation_id)s",
    "recorded_from": "recorded_at >= %(recorded_from)s",
}


def feed_query(wanted: EventFilter) -> tuple[str, dict[str, Any]]:
    """The statement and its arguments; the caller adds `after`, `up_to`, `max_rows` and `max_bytes`."""
    arguments: dict[str, Any] = {}
    conditions = ["true"]
    for name, condition in _CONDITIONS.items():
        value = getattr(wanted, name)
        if value:
            conditions.append(condition)
            arguments[name] = list(value) if name == "types" else value
    return sql.query("read_feed").replace("/* wanted */", " AND ".join(conditions)), arguments
