"""The search of the global log for what a filter wants, composed of fixed conditions.

`recorded_to` is no condition: the first row beyond it tells that the search is over.
"""

from typing import Any

import sql
from application.event_streams import EventFilter

SCANNED_POSITIONS = 20_000
"""One search looks at no more positions than this, however few of them match; so its time is bounded."""

_CONDITIONS = {
    "types": "type = ANY(%(types)s::text[])",
    "stream": "stream = %(stream)s",
    "actor": "jsonb_or_null(metadata) ->> 'actor' = %(actor)s",
    "correlation_id": "jsonb_or_null(metadata) ->> 'correlationId' = %(correlation_id)s",
    "recorded_from": "recorded_at >= %(recorded_from)s",
}


def feed_query(wanted: EventFilter) -> tuple[str, dict[str, Any]]:
    """The statement, which takes `after`, `up_to`, `max_rows` and `max_bytes` besides the arguments given here."""
    arguments: dict[str, Any] = {}
    conditions = ["true"]
    for name, condition in _CONDITIONS.items():
        value = getattr(wanted, name)
        if value:
            conditions.append(condition)
            arguments[name] = list(value) if name == "types" else value
    return sql.query("read_feed").replace("/* wanted */", " AND ".join(conditions)), arguments
